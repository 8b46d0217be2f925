"""Synthetic problems with exact answers, for training, evaluation and tests. Needs nothing but Python."""

from deepmath.problems.families import FAMILIES
from deepmath.problems.family import Family, Parameters
from deepmath.problems.problem import Instance, Problem, Split, generate, instances

__all__ = ["FAMILIES", "Family", "Instance", "Parameters", "Problem", "Split", "generate", "instances"]

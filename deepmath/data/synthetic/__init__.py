"""Synthetic problems with exact answers, for training, evaluation and tests. Needs nothing but Python."""

from deepmath.data.synthetic.family import Family, Parameters
from deepmath.data.synthetic.family_registry import FAMILIES
from deepmath.data.synthetic.problem_generator import Instance, Split, SyntheticProblem, generate, instances

__all__ = ["FAMILIES", "Family", "Instance", "Parameters", "Split", "SyntheticProblem", "generate", "instances"]

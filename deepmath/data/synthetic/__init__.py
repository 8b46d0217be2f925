"""Synthetic problems with exact answers, for training, evaluation and tests. Needs only the standard library."""

from deepmath.data.synthetic.family_registry import FAMILIES
from deepmath.data.synthetic.problem_family import Parameters, ProblemFamily
from deepmath.data.synthetic.problem_generator import EVERY_DIFFICULTY, generate, instances
from deepmath.data.synthetic.problem_instance import DIFFICULTIES, ProblemInstance, Split, SyntheticProblem

__all__ = [
    "DIFFICULTIES",
    "EVERY_DIFFICULTY",
    "FAMILIES",
    "Parameters",
    "ProblemFamily",
    "ProblemInstance",
    "Split",
    "SyntheticProblem",
    "generate",
    "instances",
]

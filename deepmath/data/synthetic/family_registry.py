"""Registry of all problem families, in round-robin order."""

from deepmath.data.synthetic import (
    algebra,
    arithmetic,
    calculus,
    combinatorics,
    geometry,
    number_theory,
    sequences,
    two_step,
)
from deepmath.data.synthetic.problem_family import ProblemFamily

FAMILIES: tuple[ProblemFamily, ...] = (
    *arithmetic.FAMILIES,
    *number_theory.FAMILIES,
    *algebra.FAMILIES,
    *combinatorics.FAMILIES,
    *sequences.FAMILIES,
    *geometry.FAMILIES,
    *calculus.FAMILIES,
    *two_step.FAMILIES,
)

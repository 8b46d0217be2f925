"""All families, in the order in which they take turns."""

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
from deepmath.data.synthetic.family import Family

FAMILIES: tuple[Family, ...] = (
    *arithmetic.FAMILIES,
    *number_theory.FAMILIES,
    *algebra.FAMILIES,
    *combinatorics.FAMILIES,
    *sequences.FAMILIES,
    *geometry.FAMILIES,
    *calculus.FAMILIES,
    *two_step.FAMILIES,
)

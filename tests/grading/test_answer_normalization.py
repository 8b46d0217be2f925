"""Canonical forms of answers."""

from fractions import Fraction

import pytest

from deepmath.grading.answer_normalization import canonical_form, same_canonical_form


@pytest.mark.parametrize("spelling", ["1/2", "0.5", r"\frac{1}{2}", r"\frac12", r"\dfrac{1}{2}", "$0.50$", " 2 / 4 "])
def test_spellings_of_one_half_have_one_value(spelling: str) -> None:
    assert canonical_form(spelling) == Fraction(1, 2)


@pytest.mark.parametrize(("left", "right"), [("1,234", "1234"), ("-3", "-3.0"), ("x + 1", "x+1"), ("12.", "12")])
def test_equal_answers_have_the_same_form(left: str, right: str) -> None:
    assert same_canonical_form(left, right)


@pytest.mark.parametrize(
    ("left", "right"), [("1/2", "1/3"), ("", ""), ("12", "1,2"), ("1/0", "0"), ("x", "y"), (r"1\frac{1}{2}", "11/2")]
)
def test_different_answers_have_different_forms(left: str, right: str) -> None:
    assert not same_canonical_form(left, right)


@pytest.mark.parametrize("hostile", ["1e999999999", "9" * 10_000, "1/" + "9" * 10_000, "\\frac{" * 1000])
def test_hostile_number_is_compared_as_text(hostile: str) -> None:
    assert canonical_form(hostile) == hostile.rstrip(".")

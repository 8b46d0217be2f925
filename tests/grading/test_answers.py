from fractions import Fraction

import pytest

from deepmath.grading.answers import canonical, extract_boxed, majority, same


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{12}.", "12"),
        (r"\boxed{1}, no, \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{ 7 }", "7"),
        (r"\boxed{5} and then \boxed{6", "5"),
        ("no box", ""),
        (r"\boxed{never closed", ""),
        (r"\boxed{}", ""),
    ],
)
def test_last_complete_box_is_the_answer(text: str, answer: str) -> None:
    assert extract_boxed(text) == answer


@pytest.mark.parametrize("spelling", ["1/2", "0.5", r"\frac{1}{2}", r"\frac12", r"\dfrac{1}{2}", "$0.50$", " 2 / 4 "])
def test_spellings_of_one_half_are_one_value(spelling: str) -> None:
    assert canonical(spelling) == Fraction(1, 2)


@pytest.mark.parametrize(("left", "right"), [("1,234", "1234"), ("-3", "-3.0"), ("x + 1", "x+1"), ("12.", "12")])
def test_equal_answers_are_same(left: str, right: str) -> None:
    assert same(left, right)


@pytest.mark.parametrize(
    ("left", "right"), [("1/2", "1/3"), ("", ""), ("12", "1,2"), ("1/0", "0"), ("x", "y"), (r"1\frac{1}{2}", "11/2")]
)
def test_other_answers_are_not_same(left: str, right: str) -> None:
    assert not same(left, right)


@pytest.mark.parametrize("hostile", ["1e999999999", "9" * 10_000, "1/" + "9" * 10_000, "\\frac{" * 1000])
def test_hostile_number_is_compared_as_text(hostile: str) -> None:
    assert canonical(hostile) == hostile.rstrip(".")


def test_majority_counts_values_and_answers_in_the_commonest_spelling() -> None:
    assert majority(["0.5", "3", "1/2", "1/2"]) == [("1/2", 3), ("3", 1)]


def test_no_answer_does_not_vote() -> None:
    assert majority(["", "", "4"]) == [("4", 1)]


def test_of_a_tie_the_earlier_answer_comes_first() -> None:
    assert majority(["8", "9"]) == [("8", 1), ("9", 1)]

"""Votes of answers."""

import pytest

from deepmath.grading.verifier import Verifier
from deepmath.grading.vote_tally import tally_votes


def test_equal_values_vote_together_in_their_most_frequent_spelling() -> None:
    assert tally_votes(["0.5", "3", "1/2", "1/2"], None) == [("1/2", 3), ("3", 1)]


def test_empty_answer_does_not_vote() -> None:
    assert tally_votes(["", "", "4"], None) == [("4", 1)]


def test_earlier_answer_comes_first_in_a_tie() -> None:
    assert tally_votes(["8", "9"], None) == [("8", 1), ("9", 1)]


@pytest.mark.parametrize(
    ("answers", "votes"),
    [
        (["x+1", "7", "1+x", "1+x"], [("1+x", 3), ("7", 1)]),
        ([r"\sin(2x)", "7", r"2\sin x\cos x"], [(r"\sin(2x)", 2), ("7", 1)]),
        ([r"\frac{\sqrt2}{2}", r"\frac{1}{\sqrt2}", "0"], [(r"\frac{\sqrt2}{2}", 2), ("0", 1)]),
        ([r"x \in [0,1]", "[0,1]"], [(r"x \in [0,1]", 2)]),
        ([r"\text{No}", "no", "Yes"], [(r"\text{No}", 2), ("Yes", 1)]),
    ],
)
def test_equal_expressions_vote_together(patient: Verifier, answers: list[str], votes: list[tuple[str, int]]) -> None:
    assert tally_votes(answers, patient.verify) == votes

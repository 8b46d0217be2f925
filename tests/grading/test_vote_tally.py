"""Votes of answers."""

from deepmath.grading.vote_tally import tally_votes


def test_equal_values_vote_together_in_their_most_frequent_spelling() -> None:
    assert tally_votes(["0.5", "3", "1/2", "1/2"]) == [("1/2", 3), ("3", 1)]


def test_empty_answer_does_not_vote() -> None:
    assert tally_votes(["", "", "4"]) == [("4", 1)]


def test_earlier_answer_comes_first_in_a_tie() -> None:
    assert tally_votes(["8", "9"]) == [("8", 1), ("9", 1)]

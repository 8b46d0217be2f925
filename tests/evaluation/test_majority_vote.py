"""Majority votes."""

import pytest

from deepmath.evaluation.majority_vote import majority_vote


@pytest.mark.parametrize(
    ("classes", "credit", "tied"),
    [
        (["a", "a", "b"], 1.0, 1),
        (["b", "b", "a"], 0.0, 1),
        (["a", "b"], 0.5, 2),
        (["b", "c"], 0.0, 2),
        ([None, None, "a"], 1.0, 1),
        ([None, "b", None], 0.0, 1),
        ([None], 0.0, 0),
        ([], 0.0, 0),
    ],
)
def test_majority_wins_and_ties_share_the_credit(classes: list[str | None], credit: float, tied: int) -> None:
    found = majority_vote(classes, "a")
    assert (found.credit, found.tied) == (credit, tied)


def test_missing_answers_get_no_credit_without_a_correct_class() -> None:
    assert majority_vote([None, None], None).credit == 0

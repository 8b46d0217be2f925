"""Numbers of an evaluation, against what can be counted by hand or by brute force."""

from itertools import combinations

import pytest

from deepmath.evaluation.estimators import estimate, mcnemar, pass_at_k, percentile, vote


@pytest.mark.parametrize(("right", "samples", "k"), [(0, 4, 2), (1, 4, 1), (1, 4, 2), (2, 5, 3), (4, 4, 1), (3, 16, 8)])
def test_pass_at_k_is_the_share_of_choices_with_a_right_one(right: int, samples: int, k: int) -> None:
    verdicts = [True] * right + [False] * (samples - right)
    choices = [any(choice) for choice in combinations(verdicts, k)]
    assert pass_at_k(right, samples, k) == pytest.approx(sum(choices) / len(choices))


@pytest.mark.parametrize("k", [0, -1, 5])
def test_more_than_there_are_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match="4 samples"):
        pass_at_k(1, 4, k)


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
def test_majority_goes_by_votes_and_ties_are_split(classes: list[str | None], credit: float, tied: int) -> None:
    found = vote(classes, "a")
    assert (found.credit, found.tied) == (credit, tied)


def test_no_right_answer_among_the_samples_has_no_credit_even_where_nobody_answers() -> None:
    assert vote([None, None], None).credit == 0


def test_interval_holds_the_mean_and_narrows_with_more_problems() -> None:
    few, many = estimate([0.0, 1.0] * 10), estimate([0.0, 1.0] * 250)
    assert few.low < few.value == 0.5 < few.high
    assert many.high - many.low < few.high - few.low
    # Of 500 coins the mean has a standard deviation of 0.0224.
    assert many.high - many.low == pytest.approx(2 * 1.96 * 0.0224, rel=0.15)


def test_interval_of_equal_values_is_a_point() -> None:
    found = estimate([1.0] * 5)
    assert (found.low, found.value, found.high) == (1.0, 1.0, 1.0)


def test_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no problem"):
        estimate([])


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 2.5), (1.0, 4.0), (0.25, 1.75)])
def test_percentile_lies_between_values_in_proportion(share: float, value: float) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], share) == pytest.approx(value)


@pytest.mark.parametrize(
    ("wins", "losses", "p"), [(0, 0, 1.0), (5, 5, 1.0), (5, 0, 0.0625), (0, 5, 0.0625), (10, 2, 0.03857421875)]
)
def test_mcnemar_is_the_exact_binomial_test(wins: int, losses: int, p: float) -> None:
    assert mcnemar(wins, losses) == pytest.approx(p)

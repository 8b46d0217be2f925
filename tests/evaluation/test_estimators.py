"""Estimators, checked against values counted by hand or by brute force."""

from itertools import combinations

import pytest

from deepmath.evaluation.estimators import bootstrap_mean, mcnemar_p_value, pass_at_k, percentile


@pytest.mark.parametrize(
    ("correct", "samples", "k"), [(0, 4, 2), (1, 4, 1), (1, 4, 2), (2, 5, 3), (4, 4, 1), (3, 16, 8)]
)
def test_pass_at_k_is_the_share_of_choices_with_a_correct_sample(correct: int, samples: int, k: int) -> None:
    verdicts = [True] * correct + [False] * (samples - correct)
    choices = [any(choice) for choice in combinations(verdicts, k)]
    assert pass_at_k(correct, samples, k) == pytest.approx(sum(choices) / len(choices))


@pytest.mark.parametrize("k", [0, -1, 5])
def test_k_outside_the_number_of_samples_is_rejected(k: int) -> None:
    with pytest.raises(ValueError, match="samples, 4"):
        pass_at_k(1, 4, k)


def test_interval_contains_the_mean_and_narrows_with_more_problems() -> None:
    few, many = bootstrap_mean([0.0, 1.0] * 10), bootstrap_mean([0.0, 1.0] * 250)
    assert few.low < few.value == 0.5 < few.high
    assert many.high - many.low < few.high - few.low
    # The mean of 500 coin tosses has a standard deviation of 0.0224.
    assert many.high - many.low == pytest.approx(2 * 1.96 * 0.0224, rel=0.15)


def test_interval_of_equal_values_is_a_point() -> None:
    found = bootstrap_mean([1.0] * 5)
    assert (found.low, found.value, found.high) == (1.0, 1.0, 1.0)


def test_mean_of_no_values_is_rejected() -> None:
    with pytest.raises(ValueError, match="no problems"):
        bootstrap_mean([])


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 2.5), (1.0, 4.0), (0.25, 1.75)])
def test_percentile_interpolates_linearly(share: float, value: float) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], share) == pytest.approx(value)


@pytest.mark.parametrize(
    ("wins", "losses", "p"), [(0, 0, 1.0), (5, 5, 1.0), (5, 0, 0.0625), (0, 5, 0.0625), (10, 2, 0.03857421875)]
)
def test_mcnemar_p_value_is_that_of_the_exact_binomial_test(wins: int, losses: int, p: float) -> None:
    assert mcnemar_p_value(wins, losses) == pytest.approx(p)

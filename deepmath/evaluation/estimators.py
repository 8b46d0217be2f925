"""Estimators over the problems of a benchmark: pass@k, bootstrap intervals and McNemar's test. Pure functions.

pass@k is the unbiased estimator of Chen et al., "Evaluating Large Language Models Trained on Code" (2021), section 2.1.
Intervals are the percentile bootstrap over problems (Efron and Tibshirani, "An Introduction to the Bootstrap", chapter
13). Two runs are compared by McNemar's exact (binomial) test.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from random import Random

RESAMPLES = 1000
_LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over problems with its 95 % interval."""

    value: float
    low: float
    high: float


def pass_at_k(correct: int, samples: int, k: int) -> float:
    """Return the probability that at least one of `k` samples, drawn from `samples`, is among the `correct` ones.

    Raises:
        ValueError: there are fewer than `k` samples.
    """
    if not 0 < k <= samples:
        raise ValueError(f"k is {k}; it must be from 1 to the number of samples, {samples}")
    return 1 - comb(samples - correct, k) / comb(samples, k)


def bootstrap_mean(values: Sequence[float], seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Return the mean of `values`, one per problem, with its bootstrap interval.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("cannot take a mean over no problems")
    random = Random(f"bootstrap:{seed}")
    means = sorted(_mean(random.choices(values, k=len(values))) for _ in range(resamples))
    return Estimate(_mean(values), percentile(means, (1 - _LEVEL) / 2), percentile(means, (1 + _LEVEL) / 2))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the ascending values lie, with linear interpolation."""
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def mcnemar_p_value(wins: int, losses: int) -> float:
    """Return the two-sided p-value of at least this imbalance among the problems on which two runs differ."""
    discordant = wins + losses
    tail = sum(comb(discordant, count) for count in range(min(wins, losses) + 1)) / (1 << discordant)
    return min(1.0, 2 * tail)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

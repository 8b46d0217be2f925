"""What the samples of a benchmark say, each number with an interval where it is an estimate. Pure functions.

A problem's samples are its verdicts: a list of booleans, one for each sample that got one. pass@k is the unbiased
estimate of Chen et al., "Evaluating Large Language Models Trained on Code" (2021), section 2.1; intervals are the
percentile bootstrap over problems (Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 13); the test of
two runs is McNemar's, exact (binomial).
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import comb
from random import Random
from typing import TypeVar

Class = TypeVar("Class", bound=Hashable)

RESAMPLES = 1000
_LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over problems with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Vote:
    """What the majority of a problem's samples gives.

    Of n classes of answers that share the most votes each has 1/n of the vote: `credit` is the share of the right one.
    """

    credit: float
    tied: int
    """Classes that share the most votes. 0 where no sample has an answer."""


def pass_at_k(right: int, samples: int, k: int) -> float:
    """Return the probability that of `k` samples, drawn from `samples` of which `right` are right, one is right.

    Raises:
        ValueError: there are fewer than `k` samples.
    """
    if not 0 < k <= samples:
        raise ValueError(f"k is {k}, and there are {samples} samples")
    return 1 - comb(samples - right, k) / comb(samples, k)


def vote(classes: Sequence[Class | None], right: Class | None) -> Vote:
    """Return the vote of samples whose answers are of `classes`, None for no answer, which does not vote."""
    counts: dict[Class, int] = {}
    for one in classes:
        if one is not None:
            counts[one] = counts.get(one, 0) + 1
    if not counts:
        return Vote(0.0, 0)
    most = max(counts.values())
    winners = [one for one, count in counts.items() if count == most]
    return Vote(1 / len(winners) if right in winners else 0.0, len(winners))


def estimate(values: Sequence[float], seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Return the mean of `values`, one for each problem, with its interval.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("there is no problem to take a mean over")
    draw = Random(f"bootstrap:{seed}")
    means = sorted(_mean(draw.choices(values, k=len(values))) for _ in range(resamples))
    return Estimate(_mean(values), percentile(means, (1 - _LEVEL) / 2), percentile(means, (1 + _LEVEL) / 2))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the values lie, between two of them in proportion."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def mcnemar(wins: int, losses: int) -> float:
    """Return the two-sided p-value of a split so unequal, of the problems that two runs judge differently."""
    discordant = wins + losses
    tail = sum(comb(discordant, count) for count in range(min(wins, losses) + 1)) / (1 << discordant)
    return min(1.0, 2 * tail)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

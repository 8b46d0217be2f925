"""Estimated pass rates of problems: a Kalman filter on their log-odds.

The log-odds of a problem's pass rate are a sum of offsets: the policy's, which all problems share; those of the
problem's family, of its difficulty and of the two together, as far as the dataset has them; and the problem's own. A
problem that was never sampled is therefore estimated by its kind, and a kind that was never sampled by the others. As
the policy improves, all estimates rise.

Each offset is normally distributed. This is Rasch's model with attributes of the items, estimated as ratings are in
Glicko (Glickman 1999, Parameter estimation in large dynamic paired comparison experiments).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from deepmath.data.dataset_problem import DatasetProblem

POLICY = "policy"
"""The key of the offset that all problems share."""

# In squared log-odds, chosen by `benchmarks.curriculum_simulation`.
_PRIOR_VARIANCE = 4.0
_LEAST_VARIANCE = 0.2  # what was observed long ago is forgotten: offsets change with the policy
_POLICY_DRIFT = 0.02  # added to the policy's variance in each batch
_BISECTIONS = 60


@dataclass(frozen=True, order=True)
class PassCount:
    """The samples of one group."""

    problem: str
    """The problem's digest."""
    passed: float
    """The sum of the scores, each from 0 to 1; without partial credit, the number of correct samples."""
    samples: int


class _Offset(NamedTuple):
    mean: float = 0.0
    variance: float = _PRIOR_VARIANCE


_UNKNOWN = _Offset()


def kind_of(problem: DatasetProblem) -> tuple[str, ...]:
    """Return the keys of the offsets that a problem shares with others."""
    family, difficulty = problem.family, problem.difficulty
    keys = [POLICY]
    if family:
        keys.append(f"family {family}")
    if difficulty is not None:
        keys.append(f"difficulty {difficulty}")
    if family and difficulty is not None:
        keys.append(f"family {family}, difficulty {difficulty}")
    return tuple(keys)


class PassRates:
    """The offsets by key; immutable. The key of a problem's own offset is its digest."""

    def __init__(self, offsets: Mapping[str, _Offset] | None = None) -> None:
        self._offsets = dict(offsets or {})

    def log_odds(self, *keys: str) -> float:
        """Return the sum of offsets."""
        return sum(self._offset(key).mean for key in keys)

    def after(self, counts: Iterable[tuple[tuple[str, ...], PassCount]]) -> Self:
        """Return the estimates after another batch: counts in their order, each with the kind of its problem."""
        updated = type(self)(self._offsets)
        policy = self._offset(POLICY)
        updated._offsets[POLICY] = policy._replace(variance=policy.variance + _POLICY_DRIFT)
        for kind, count in counts:
            if count.samples:
                updated._observe((*kind, count.problem), count)
        return updated

    def to_json(self) -> dict[str, Any]:
        """Return the mean and the variance of each offset."""
        return dict(self._offsets)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return the estimates of `to_json`."""
        return cls({key: _Offset(*offset) for key, offset in values.items()})

    def _offset(self, key: str) -> _Offset:
        return self._offsets.get(key, _UNKNOWN)

    def _observe(self, keys: tuple[str, ...], count: PassCount) -> None:
        """Move the offsets to the maximum of their posterior, each in proportion to its variance."""
        offsets = [self._offset(key) for key in keys]
        total = sum(offset.variance for offset in offsets)
        before = self.log_odds(*keys)
        log_odds = _most_probable(before, total, count)
        shift = (log_odds - before) / total
        rate = pass_rate(log_odds)
        information = count.samples * rate * (1 - rate)  # the curvature of the log-likelihood
        for key, (mean, variance) in zip(keys, offsets, strict=True):
            remaining = variance - variance**2 * information / (1 + information * total)
            self._offsets[key] = _Offset(mean + variance * shift, max(remaining, _LEAST_VARIANCE))


def _most_probable(mean: float, variance: float, count: PassCount) -> float:
    """Return the mode of normally distributed log-odds after `count`: where the posterior's derivative is 0."""
    low, high = mean - variance * count.samples, mean + variance * count.samples
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if count.passed - count.samples * pass_rate(middle) > (middle - mean) / variance:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def pass_rate(log_odds: float) -> float:
    """Return the pass rate with these log-odds."""
    if log_odds < 0:
        return math.exp(log_odds) / (1 + math.exp(log_odds))
    return 1 / (1 + math.exp(-log_odds))

"""Accuracy on the problems of one difficulty or family, which shows where a configuration gains and where it fails."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from deepmath.evaluation.answer_classes import CORRECT_CLASS, JudgedProblem
from deepmath.evaluation.estimators import Estimate, bootstrap_mean
from deepmath.evaluation.majority_curve import majority_curve

MOST_FAMILIES = 60
"""A dataset may have a family for each problem."""

_Name = TypeVar("_Name", int, str)


@dataclass(frozen=True)
class GroupAccuracy:
    """Accuracy on some problems of a benchmark. Shares are from 0 to 1."""

    shares: tuple[float, ...]
    """The share of correct samples of each problem."""
    curves: tuple[tuple[float, ...], ...]
    """majority@1, majority@2, ... of each problem."""

    @classmethod
    def of(cls, problems: Iterable[JudgedProblem]) -> "GroupAccuracy":
        """Return the accuracy on `problems`, each of which has a verdict."""
        own = tuple(problems)
        shares = tuple(sum(one.correct) / len(one.correct) for one in own)
        return cls(shares, tuple(majority_curve(one.classes, CORRECT_CLASS) for one in own))

    @property
    def problems(self) -> int:
        """The number of problems."""
        return len(self.shares)

    @cached_property
    def mean(self) -> Estimate:
        """Share of correct samples."""
        return bootstrap_mean(self.shares)

    def majority(self, k: int) -> Estimate:
        """Return majority@k; a problem with fewer verdicts is scored by those it has."""
        return bootstrap_mean([curve[min(k, len(curve)) - 1] for curve in self.curves])


def by_difficulty(problems: Iterable[JudgedProblem]) -> dict[int, GroupAccuracy]:
    """Return the accuracy at each difficulty, ascending. Problems without a difficulty are left out."""
    groups = _grouped((one.difficulty, one) for one in problems if one.difficulty is not None)
    return {level: GroupAccuracy.of(own) for level, own in sorted(groups.items())}


def by_family(problems: Iterable[JudgedProblem]) -> dict[str, GroupAccuracy]:
    """Return the accuracy on each family, by name, or on the `MOST_FAMILIES` with the most problems.

    Problems without a family are left out.
    """
    groups = _grouped((one.family, one) for one in problems if one.family)
    largest = sorted(groups, key=lambda name: (-len(groups[name]), name))[:MOST_FAMILIES]
    return {name: GroupAccuracy.of(groups[name]) for name in sorted(largest)}


def _grouped(pairs: Iterable[tuple[_Name, JudgedProblem]]) -> dict[_Name, list[JudgedProblem]]:
    groups: dict[_Name, list[JudgedProblem]] = {}
    for name, problem in pairs:
        groups.setdefault(name, []).append(problem)
    return groups

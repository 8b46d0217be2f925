"""Paired comparison of two configurations or runs on the same problems, with McNemar's test."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepmath.errors import InvalidRequest
from deepmath.evaluation.answer_classes import JudgedProblem
from deepmath.evaluation.estimators import Estimate, bootstrap_mean, mcnemar_p_value
from deepmath.evaluation.sample_sets import SampleSet

JudgedSet = tuple[SampleSet, Sequence[JudgedProblem]]
Side = dict[str, list[JudgedSet]]
"""One side of a comparison: judged sample sets by the configuration's name in its run."""


@dataclass(frozen=True)
class RunComparison:
    """Two configurations on one benchmark, compared by the votes of the first `k` samples of each problem.

    The configuration with more credit wins a problem: 1 for a correct vote, a fraction for a tie.
    """

    first: str
    second: str
    benchmark: str
    k: int
    credits: Mapping[str, tuple[float, float]]
    """First and second credit of each problem for which both have verdicts."""
    excluded: int
    """Problems for which only one of them has verdicts. They are not compared."""
    difference: Estimate
    """majority@k of the first less that of the second."""

    @property
    def wins(self) -> list[str]:
        """Problems that the first configuration wins."""
        return [problem for problem, (first, second) in self.credits.items() if first > second]

    @property
    def losses(self) -> list[str]:
        """Problems that the second configuration wins."""
        return [problem for problem, (first, second) in self.credits.items() if first < second]

    @property
    def p_value(self) -> float:
        """The p-value of McNemar's exact test, under the hypothesis that both are equally good."""
        return mcnemar_p_value(len(self.wins), len(self.losses))


def compare(sides: tuple[str, str], judged: Sequence[JudgedSet], k: int | None = None) -> list[RunComparison]:
    """Return the comparison of two sides on each common benchmark. A side is a configuration's name or a run's folder.

    Runs are compared configuration by configuration. If each run has a single configuration, these two are compared.
    `k` samples of each problem vote, by default as many as both sides have.

    Raises:
        InvalidRequest: there is no such side, or the sides have no configuration, benchmark or problem in common.
    """
    first, second = (_side(name, judged) for name in sides)
    available = _benchmarks(first), _benchmarks(second)
    if not set(available[0]) & set(available[1]):
        raise _nothing_in_common(sides, available, "give two with a common benchmark")
    compared = [
        _compare(one, other, k)
        for own, others in _pairs(sides, first, second)
        for one in own
        for other in others
        if one[0].benchmark == other[0].benchmark
    ]
    if not compared:
        raise _nothing_in_common(sides, available, "no configuration of both is on the same benchmark")
    return compared


def _side(name: str, judged: Sequence[JudgedSet]) -> Side:
    found = [one for one in judged if one[0].configuration == name]
    found = found or [one for one in judged if one[0].folder.resolve() == Path(name).resolve()]
    if not found:
        names = ", ".join(dict.fromkeys(sample_set.configuration for sample_set, _ in judged))
        raise InvalidRequest(f"there is no {name!r} to compare; give two of {names}, or two of the runs")
    side: Side = {}
    for one in found:
        side.setdefault(one[0].name, []).append(one)
    return side


def _pairs(sides: tuple[str, str], first: Side, second: Side) -> list[tuple[list[JudgedSet], list[JudgedSet]]]:
    """Return the sample sets to compare with each other."""
    if first == second:
        raise InvalidRequest(f"cannot compare {sides[0]} with itself; give two different sides")
    if len(first) == len(second) == 1:
        return list(zip(first.values(), second.values(), strict=True))
    common = [name for name in first if name in second]
    if not common:
        raise _nothing_in_common(sides, (first, second), "give two configurations, not runs")
    return [(first[name], second[name]) for name in common]


def _nothing_in_common(
    sides: tuple[str, str], available: tuple[Iterable[str], Iterable[str]], advice: str
) -> InvalidRequest:
    contents = " and ".join(f"{side} has {', '.join(names)}" for side, names in zip(sides, available, strict=True))
    return InvalidRequest(f"there is nothing to compare: {contents}; {advice}")


def _benchmarks(side: Side) -> list[str]:
    return list(dict.fromkeys(sample_set.benchmark for sets in side.values() for sample_set, _ in sets))


def _compare(one: JudgedSet, other: JudgedSet, k: int | None) -> RunComparison:
    (first, own), (second, others) = one, other
    votes = k or min(first.max_k, second.max_k)
    by_id = {problem.problem_id: problem for problem in others}
    common = [(problem, by_id[problem.problem_id]) for problem in own if problem.problem_id in by_id]
    if not common:
        raise InvalidRequest(
            f"{first.label} and {second.label} have no problem in common; compare runs on the same benchmark"
        )
    for problem, same in common:
        if problem.gold != same.gold:
            raise InvalidRequest(
                f"{first.label} and {second.label} have different problems: the gold answer of "
                f"{problem.problem_id} is {problem.gold!r} in one and {same.gold!r} in the other"
            )
    credits = {problem.problem_id: (problem.vote(votes).credit, same.vote(votes).credit) for problem, same in common}
    return RunComparison(
        first.configuration,
        second.configuration,
        first.benchmark,
        votes,
        credits,
        excluded=len(own) + len(others) - 2 * len(common),
        difference=bootstrap_mean([credit - other_credit for credit, other_credit in credits.values()]),
    )

"""Two rows on the same problems: who is right where the other is wrong, and whether that may be chance."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepmath.errors import InvalidRequest
from deepmath.evaluation.answer_classes import Judged
from deepmath.evaluation.estimators import Estimate, estimate, mcnemar
from deepmath.evaluation.sample_records import SampleRecord

Row = tuple[SampleRecord, Sequence[Judged]]
Side = dict[str, list[Row]]
"""By the configuration's name in its run."""


@dataclass(frozen=True)
class RunComparison:
    """Two configurations on one benchmark, by the votes of the first `k` samples of each problem.

    A problem is won by the one whose vote has more credit: a whole one for the right answer, a part where it is tied.
    """

    first: str
    second: str
    benchmark: str
    k: int
    credits: Mapping[str, tuple[float, float]]
    """Of each problem that both have verdicts of."""
    alone: int
    """Problems that only one of them has verdicts of. They are left out."""
    difference: Estimate
    """The first's share of right votes less the second's."""

    @property
    def wins(self) -> list[str]:
        """The problems that the first one wins."""
        return [problem for problem, (first, second) in self.credits.items() if first > second]

    @property
    def losses(self) -> list[str]:
        """The problems that the second one wins."""
        return [problem for problem, (first, second) in self.credits.items() if first < second]

    @property
    def p(self) -> float:
        """McNemar's exact test: how likely a split so unequal is where the two are equally good."""
        return mcnemar(len(self.wins), len(self.losses))


def compare(sides: tuple[str, str], rows: Sequence[Row], k: int | None = None) -> list[RunComparison]:
    """Return what two sides, each the name of a configuration or the folder of a run, differ in on each benchmark.

    Runs are compared configuration by configuration; where each has one only, these two are. `k` is the number of
    samples of each problem that vote; without it, as many as both have.

    Raises:
        InvalidRequest: there is no such side, or they have no configuration, benchmark or problem in common.
    """
    first, second = (_side(name, rows) for name in sides)
    have = _benchmarks(first), _benchmarks(second)
    if not set(have[0]) & set(have[1]):
        raise _nothing(sides, have, "give two of one benchmark")
    compared = [
        _compare(one, other, k)
        for ours, theirs in _pairs(sides, first, second)
        for one in ours
        for other in theirs
        if one[0].benchmark == other[0].benchmark
    ]
    if not compared:
        raise _nothing(sides, have, "but no configuration that both have is on the same one")
    return compared


def _side(name: str, rows: Sequence[Row]) -> Side:
    found = [row for row in rows if row[0].configuration == name]
    found = found or [row for row in rows if row[0].folder.resolve() == Path(name).resolve()]
    if not found:
        there = ", ".join(dict.fromkeys(record.configuration for record, _ in rows))
        raise InvalidRequest(f"there is no {name!r} to compare; give two of {there}, or two of the runs")
    side: Side = {}
    for row in found:
        side.setdefault(row[0].name, []).append(row)
    return side


def _pairs(sides: tuple[str, str], first: Side, second: Side) -> list[tuple[list[Row], list[Row]]]:
    """Return the rows that are compared with each other."""
    if first == second:
        raise InvalidRequest(f"{sides[0]} would be compared with itself; give two")
    if len(first) == len(second) == 1:
        return list(zip(first.values(), second.values(), strict=True))
    common = [name for name in first if name in second]
    if not common:
        raise _nothing(sides, (first, second), "give two configurations, not runs")
    return [(first[name], second[name]) for name in common]


def _nothing(sides: tuple[str, str], have: tuple[Iterable[str], Iterable[str]], what: str) -> InvalidRequest:
    told = " and ".join(f"{side} has {', '.join(names)}" for side, names in zip(sides, have, strict=True))
    return InvalidRequest(f"there is nothing to compare: {told}; {what}")


def _benchmarks(side: Side) -> list[str]:
    return list(dict.fromkeys(record.benchmark for rows in side.values() for record, _ in rows))


def _compare(one: Row, other: Row, k: int | None) -> RunComparison:
    (first, ours), (second, theirs) = one, other
    votes = k or min(first.drawn, second.drawn)
    known = {problem.problem_id: problem for problem in theirs}
    both = [(problem, known[problem.problem_id]) for problem in ours if problem.problem_id in known]
    if not both:
        raise InvalidRequest(
            f"{first.label} and {second.label} have no problem in common; compare runs of one benchmark"
        )
    for problem, same in both:
        if problem.gold != same.gold:
            raise InvalidRequest(
                f"{first.label} and {second.label} are not of the same problems: the right answer of "
                f"{problem.problem_id} is {problem.gold!r} in one and {same.gold!r} in the other"
            )
    credits = {problem.problem_id: (problem.vote(votes).credit, same.vote(votes).credit) for problem, same in both}
    return RunComparison(
        first.configuration,
        second.configuration,
        first.benchmark,
        votes,
        credits,
        alone=len(ours) + len(theirs) - 2 * len(both),
        difference=estimate([mine - yours for mine, yours in credits.values()]),
    )

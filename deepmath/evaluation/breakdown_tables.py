"""Tables of accuracy by difficulty and by family."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from deepmath.evaluation.accuracy_breakdown import GroupAccuracy
from deepmath.evaluation.estimators import Estimate
from deepmath.evaluation.summary_statistics import SummaryStatistics
from deepmath.evaluation.text_table import TableRow, TextTable, percent, percent_with_interval


def graded_benchmarks(statistics: Sequence[SummaryStatistics], ks: Mapping[str, int]) -> dict[str, list[int]]:
    """Return the benchmarks with problems of at least two difficulties, and these difficulties, ascending."""
    found = {name: sorted({level for one in _of(statistics, name) for level in one.difficulties}) for name in ks}
    return {name: levels for name, levels in found.items() if len(levels) > 1}


def difficulty_tables(statistics: Sequence[SummaryStatistics], ks: Mapping[str, int]) -> list[TextTable]:
    """Return majority@k and mean accuracy at each difficulty: a table for each benchmark with two or more."""
    tables = []
    for benchmark, levels in graded_benchmarks(statistics, ks).items():
        own, k = list(_of(statistics, benchmark)), ks[benchmark]
        counts = [_most_problems(one.difficulties.get(level) for one in own) for level in levels]
        rows = [
            TableRow((one.configuration, name, *cells))
            for name, at in ((f"majority@{k}, %", k), ("mean, %", None))
            for one in own
            if any(cells := [_cell(one.difficulties.get(level), at) for level in levels])
        ]
        headings = (f"difficulty {level} ({count} problems)" for level, count in zip(levels, counts, strict=True))
        title = f"Accuracy by difficulty: {benchmark}"
        tables.append(TextTable(title, ("configuration", "accuracy", *headings), tuple(rows), name_columns=2))
    return tables


def family_table(statistics: Sequence[SummaryStatistics], ks: Mapping[str, int]) -> TextTable | None:
    """Return the mean accuracy of each configuration on each family, of benchmarks with two or more, or None."""
    configurations = list(dict.fromkeys(one.configuration for one in statistics))
    rows = []
    for benchmark in ks:
        own = {one.configuration: one.families for one in _of(statistics, benchmark)}
        names = sorted({name for families in own.values() for name in families})
        for name in names if len(names) > 1 else ():
            groups = [own.get(configuration, {}).get(name) for configuration in configurations]
            cells = (percent(one.mean.value) if one else "" for one in groups)
            rows.append(TableRow((benchmark, name, str(_most_problems(groups)), *cells)))
    headings = ("benchmark", "family", "problems", *(f"{name} mean, %" for name in configurations))
    return TextTable("Accuracy by family", headings, tuple(rows), name_columns=2, folded=True) if rows else None


def all_groups(statistics: Sequence[SummaryStatistics], ks: Mapping[str, int]) -> TextTable:
    """Return the accuracy at every difficulty and on every family for programs, in per cent."""
    rows = [
        TableRow((one.configuration, one.benchmark, kind, str(name), *_columns(group, ks[one.benchmark])))
        for one in statistics
        for kind, groups in (("difficulty", one.difficulties), ("family", one.families))
        for name, group in groups.items()
    ]
    rates = ("majority", "majority_low", "majority_high", "mean", "mean_low", "mean_high")
    headings = ("configuration", "benchmark", "by", "group", "k", "problems", *rates)
    return TextTable("Accuracy by difficulty and family", headings, tuple(rows), name_columns=4)


def _of(statistics: Sequence[SummaryStatistics], benchmark: str) -> Iterator[SummaryStatistics]:
    return (one for one in statistics if one.benchmark == benchmark)


def _most_problems(groups: Iterable[GroupAccuracy | None]) -> int:
    """Return the number of problems; configurations have different ones if samples lack verdicts."""
    return max(one.problems for one in groups if one)


def _cell(group: GroupAccuracy | None, k: int | None) -> str:
    return "" if group is None else percent_with_interval(group.majority(k) if k else group.mean)


def _columns(group: GroupAccuracy, k: int) -> Iterator[str]:
    yield from (str(k), str(group.problems))
    for rate in (group.majority(k), group.mean):
        yield from map(percent, _values(rate))


def _values(one: Estimate) -> tuple[float, float, float]:
    return one.value, one.low, one.high

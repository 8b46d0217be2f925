"""The tables of a report: the seeds' own first, then what it is made of."""

from collections.abc import Iterator, Mapping, Sequence

from deepmath.evaluation.estimators import Estimate
from deepmath.evaluation.published_results import K, Published, PublishedRow
from deepmath.evaluation.run_comparison import RunComparison
from deepmath.evaluation.summary_statistics import SummaryStatistics
from deepmath.evaluation.text_table import TableRow, TextTable, percent, percent_with_interval

Ks = Mapping[str, int]
"""How many samples vote, by benchmark."""


def results(figures: Sequence[SummaryStatistics], ks: Ks, published: Published) -> TextTable:
    """Return the seeds' table: accuracy and mean output length of each benchmark; under ours what was published."""
    ours = {(one.configuration, one.benchmark): one for one in figures}
    theirs = {(one.configuration, one.benchmark): one for one in published.rows if one.benchmark in ks}
    rows = []
    for name in dict.fromkeys(configuration for configuration, _ in (*ours, *theirs)):
        own = [_own_cells(ours.get((name, benchmark)), k) for benchmark, k in ks.items()]
        other = [_their_cells(theirs.get((name, benchmark)), k) for benchmark, k in ks.items()]
        if any(map(any, own)):
            rows.append(TableRow((name, *(cell for pair in own for cell in pair))))
        if any(map(any, other)):
            rows.append(TableRow((f"{name}, published", *(cell for pair in other for cell in pair)), theirs=True))
    headings = (pair for benchmark, k in ks.items() for pair in (f"{benchmark} majority@{k}, %", f"{benchmark} tokens"))
    return TextTable("Accuracy and mean output length", ("configuration", *headings), tuple(rows))


def accuracy(figures: Sequence[SummaryStatistics], ks: Ks) -> TextTable:
    """Return what a sample, any of k samples and the majority of k are worth."""
    rows = []
    for one in figures:
        k = ks[one.benchmark]
        rates = (one.mean, one.pass_at[k - 1], one.majority_at[k - 1])
        cells = (str(k), *map(percent_with_interval, rates), str(one.tied), str(one.problems))
        rows.append(TableRow((one.configuration, one.benchmark, *cells)))
    headings = ("configuration", "benchmark", "k", "mean@k, %", "pass@k, %", "majority@k, %", "ties", "problems")
    return TextTable("Accuracy", headings, tuple(rows), names=2)


def output(figures: Sequence[SummaryStatistics]) -> TextTable:
    """Return how long outputs are, in tokens, and what snippets are in them."""
    rows = []
    for one in figures:
        cells = (
            _with_interval(one.tokens.mean),
            " / ".join(f"{value:.0f}" for value in (one.tokens.p50, one.tokens.p90, one.tokens.p99)),
            f"{one.model_tokens.mean.value:.0f}",
            f"{one.tool_tokens.mean.value:.0f}",
            f"{one.snippets.value:.2f}",
            percent(one.failure_rate),
            _told(one.outcomes),
        )
        rows.append(TableRow((one.configuration, one.benchmark, *cells)))
    headings = (
        *("configuration", "benchmark", "tokens", "p50 / p90 / p99", "model's", "tools'"),
        *("snippets a sample", "of them failed, %", "outcomes"),
    )
    return TextTable("Output", headings, tuple(rows), names=2)


def samples(figures: Sequence[SummaryStatistics], ks: Ks) -> TextTable:
    """Return how many samples there are, why they ended, and which have no score."""
    rows = []
    for one in figures:
        counts = (one.samples, one.unjudged, one.lost, one.failures, one.short_of(ks[one.benchmark]))
        rows.append(TableRow((one.configuration, one.benchmark, *map(str, counts), _told(one.statuses))))
    headings = (
        *("configuration", "benchmark", "samples", "without a verdict", "lost by our faults", "our faults"),
        *("problems with fewer than k", "ended"),
    )
    return TextTable("Samples", headings, tuple(rows), names=2)


def comparison(comparisons: Sequence[RunComparison]) -> TextTable:
    """Return what two rows differ in."""
    rows = []
    for one in comparisons:
        points = one.difference
        cells = (
            *(str(one.k), str(len(one.credits)), str(len(one.wins)), str(len(one.losses))),
            f"{100 * points.value:+.1f} [{100 * points.low:+.1f}, {100 * points.high:+.1f}]",
            f"{one.p:.4f}",
            str(one.alone),
        )
        rows.append(TableRow((one.first, one.second, one.benchmark, *cells)))
    headings = (
        *("first", "second", "benchmark", "k", "problems", "wins", "losses"),
        *("majority@k, points", "McNemar's p", "left out"),
    )
    return TextTable("RunComparison", headings, tuple(rows), names=3)


def compared_problems(comparisons: Sequence[RunComparison]) -> TextTable:
    """Return every problem that was compared."""
    rows = [
        TableRow(
            (one.first, one.second, one.benchmark, problem, f"{first:.3f}", f"{second:.3f}", _result(first, second))
        )
        for one in comparisons
        for problem, (first, second) in one.credits.items()
    ]
    headings = ("first", "second", "benchmark", "problem", "first's credit", "second's credit", "result")
    return TextTable("Compared problems", headings, tuple(rows), names=4)


def everything(figures: Sequence[SummaryStatistics], ks: Ks, published: Published) -> TextTable:
    """Return all figures in one line a configuration and benchmark, for programs; shares are in per cent."""
    columns: dict[str, None] = {}
    lines = []
    for one in figures:
        line = dict(_figures(one, ks[one.benchmark]))
        columns |= dict.fromkeys(line)
        lines.append(line)
    for row in published.rows:
        if row.benchmark in ks:
            line = {"source": published.source, "configuration": row.configuration, "benchmark": row.benchmark}
            line |= {"k": str(K), "majority": _number(row.majority), "tokens": _number(row.mean_tokens)}
            lines.append(line)
    rows = tuple(
        TableRow(tuple(line.get(column, "") for column in columns), line["source"] != "ours") for line in lines
    )
    return TextTable("All figures", tuple(columns), rows, names=3)


def curves(figures: Sequence[SummaryStatistics]) -> TextTable:
    """Return pass@k and majority@k for every k, in per cent."""
    rows = []
    for one in figures:
        for k, (passed, voted) in enumerate(zip(one.pass_at, one.majority_at, strict=True), start=1):
            cells = (percent(value) for rate in (voted, passed) for value in (rate.value, rate.low, rate.high))
            rows.append(TableRow((one.configuration, one.benchmark, str(k), *cells)))
    rates = ("majority", "majority_low", "majority_high", "pass", "pass_low", "pass_high")
    return TextTable("Curves", ("configuration", "benchmark", "k", *rates), tuple(rows), names=3)


def _own_cells(one: SummaryStatistics | None, k: int) -> tuple[str, str]:
    if one is None:
        return "", ""
    return percent_with_interval(one.majority_at[k - 1]), f"{one.tokens.mean.value:.0f}"


def _their_cells(one: PublishedRow | None, k: int) -> tuple[str, str]:
    if one is None:
        return "", ""
    other = "" if k == K or one.majority is None else f" (majority@{K})"
    return _number(one.majority) + other, "" if one.mean_tokens is None else f"{one.mean_tokens:.0f}"


def _figures(one: SummaryStatistics, k: int) -> Iterator[tuple[str, str]]:
    yield from (("source", "ours"), ("configuration", one.configuration), ("benchmark", one.benchmark), ("k", str(k)))
    for name, rate in (("majority", one.majority_at[k - 1]), ("mean", one.mean), ("pass", one.pass_at[k - 1])):
        yield from _estimate(name, rate, 100)
    for name, lengths in (("tokens", one.tokens), ("model_tokens", one.model_tokens), ("tool_tokens", one.tool_tokens)):
        yield from _estimate(name, lengths.mean)
        yield from ((f"{name}_{at}", f"{getattr(lengths, at):.1f}") for at in ("p50", "p90", "p99"))
    yield from _estimate("snippets", one.snippets)
    yield "snippet_failures", percent(one.failure_rate)
    yield "outcomes", _told(one.outcomes)
    yield "statuses", _told(one.statuses)
    counts = {"problems": one.problems, "ties": one.tied, "problems_short_of_k": one.short_of(k)}
    counts |= {"samples": one.samples, "unjudged": one.unjudged, "lost": one.lost, "failures": one.failures}
    yield from ((name, str(count)) for name, count in counts.items())


def _estimate(name: str, one: Estimate, scale: int = 1) -> Iterator[tuple[str, str]]:
    for column, value in ((name, one.value), (f"{name}_low", one.low), (f"{name}_high", one.high)):
        yield column, _number(scale * value)


def _with_interval(one: Estimate) -> str:
    return f"{one.value:.0f} [{one.low:.0f}, {one.high:.0f}]"


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name.lower().replace('_', ' ')}" for name, count in counts.items())


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _result(first: float, second: float) -> str:
    return "win" if first > second else "loss" if first < second else "same"

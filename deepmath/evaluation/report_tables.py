"""The tables of a report: the main results as in the DeepMath model card, then the statistics behind them."""

from collections.abc import Iterator, Mapping, Sequence

from deepmath.evaluation.estimators import Estimate
from deepmath.evaluation.published_results import PUBLISHED_K, PublishedResult, PublishedResults
from deepmath.evaluation.run_comparison import RunComparison
from deepmath.evaluation.summary_statistics import SummaryStatistics
from deepmath.evaluation.text_table import TableRow, TextTable, percent, percent_with_interval

VotesByBenchmark = Mapping[str, int]
"""The number of samples that vote, k, by benchmark."""


def main_results(
    statistics: Sequence[SummaryStatistics], ks: VotesByBenchmark, published: PublishedResults
) -> TextTable:
    """Return the DeepMath table with the mean accuracy added, per benchmark, with published results below."""
    measured = {(one.configuration, one.benchmark): one for one in statistics}
    others = {(one.configuration, one.benchmark): one for one in published.rows if one.benchmark in ks}
    rows = []
    for name in dict.fromkeys(configuration for configuration, _ in (*measured, *others)):
        own = [_measured_cells(measured.get((name, benchmark)), k) for benchmark, k in ks.items()]
        other = [_published_cells(others.get((name, benchmark)), k) for benchmark, k in ks.items()]
        if any(map(any, own)):
            rows.append(TableRow((name, *(cell for cells in own for cell in cells))))
        if any(map(any, other)):
            rows.append(TableRow((f"{name}, published", *(cell for cells in other for cell in cells)), published=True))
    headings = (
        f"{benchmark} {column}" for benchmark, k in ks.items() for column in (f"majority@{k}, %", "mean, %", "tokens")
    )
    return TextTable("Accuracy and mean output length", ("configuration", *headings), tuple(rows))


def accuracy(statistics: Sequence[SummaryStatistics], ks: VotesByBenchmark) -> TextTable:
    """Return mean@k, pass@k and majority@k, and mean scores if problems have their own scorers."""
    rows, has_scores = [], any(one.score for one in statistics)
    for one in statistics:
        k = ks[one.benchmark]
        rates = (one.mean, one.pass_at[k - 1], one.majority_at[k - 1])
        cells = (str(k), *map(percent_with_interval, rates), str(one.tied), str(one.problems))
        scores = [percent_with_interval(one.score) if one.score else ""] * has_scores
        rows.append(TableRow((one.configuration, one.benchmark, *cells, *scores)))
    headings = ("configuration", "benchmark", "k", "mean@k, %", "pass@k, %", "majority@k, %", "ties", "problems")
    if has_scores:
        return TextTable("Accuracy", (*headings, "mean score, %"), tuple(rows), name_columns=2)
    return TextTable("Accuracy", headings, tuple(rows), name_columns=2)


def output(statistics: Sequence[SummaryStatistics]) -> TextTable:
    """Return output lengths in tokens, and snippets with their outcomes."""
    rows = []
    for one in statistics:
        cells = (
            _rounded_with_interval(one.tokens.mean),
            " / ".join(f"{value:.0f}" for value in (one.tokens.p50, one.tokens.p90, one.tokens.p99)),
            f"{one.model_tokens.mean.value:.0f}",
            f"{one.tool_tokens.mean.value:.0f}",
            f"{one.snippets.value:.2f}",
            percent(one.snippet_failure_rate),
            _frequencies(one.outcomes),
        )
        rows.append(TableRow((one.configuration, one.benchmark, *cells)))
    headings = (
        *("configuration", "benchmark", "tokens", "p50 / p90 / p99", "model tokens", "tool tokens"),
        *("snippets per sample", "failed snippets, %", "snippet outcomes"),
    )
    return TextTable("Output", headings, tuple(rows), name_columns=2)


def samples(statistics: Sequence[SummaryStatistics], ks: VotesByBenchmark) -> TextTable:
    """Return the number of samples, those without a score, and the final statuses."""
    rows = []
    for one in statistics:
        counts = (one.samples, one.unjudged, one.lost, one.failures, one.problems_short_of(ks[one.benchmark]))
        shares = (_frequencies(one.statuses), _frequencies(one.reasons))
        rows.append(TableRow((one.configuration, one.benchmark, *map(str, counts), *shares)))
    headings = (
        *("configuration", "benchmark", "samples", "no verdict", "lost", "infrastructure failures"),
        *("problems with fewer than k verdicts", "final status", "reason of the verdict"),
    )
    return TextTable("Samples", headings, tuple(rows), name_columns=2)


def comparison(comparisons: Sequence[RunComparison]) -> TextTable:
    """Return wins, losses and McNemar's test of each comparison."""
    rows = []
    for one in comparisons:
        points = one.difference
        cells = (
            *(str(one.k), str(len(one.credits)), str(len(one.wins)), str(len(one.losses))),
            f"{100 * points.value:+.1f} [{100 * points.low:+.1f}, {100 * points.high:+.1f}]",
            f"{one.p_value:.4f}",
            str(one.excluded),
        )
        rows.append(TableRow((one.first, one.second, one.benchmark, *cells)))
    headings = (
        *("first", "second", "benchmark", "k", "problems", "wins", "losses"),
        *("majority@k difference, points", "McNemar's p", "excluded"),
    )
    return TextTable("Comparison", headings, tuple(rows), name_columns=3)


def compared_problems(comparisons: Sequence[RunComparison]) -> TextTable:
    """Return every compared problem, one per row."""
    rows = [
        TableRow(
            (one.first, one.second, one.benchmark, problem, f"{first:.3f}", f"{second:.3f}", _result(first, second))
        )
        for one in comparisons
        for problem, (first, second) in one.credits.items()
    ]
    headings = ("first", "second", "benchmark", "problem", "first's credit", "second's credit", "result")
    return TextTable("Compared problems", headings, tuple(rows), name_columns=4)


def all_statistics(
    statistics: Sequence[SummaryStatistics], ks: VotesByBenchmark, published: PublishedResults
) -> TextTable:
    """Return all statistics for programs, one row per configuration and benchmark. Shares are in per cent."""
    columns: dict[str, None] = {}
    lines = []
    for one in statistics:
        line = dict(_columns(one, ks[one.benchmark]))
        columns |= dict.fromkeys(line)
        lines.append(line)
    for row in published.rows:
        if row.benchmark in ks:
            line = {"source": published.source, "configuration": row.configuration, "benchmark": row.benchmark}
            line |= {"k": str(PUBLISHED_K), "majority": _number(row.majority), "tokens": _number(row.mean_tokens)}
            lines.append(line)
    rows = tuple(
        TableRow(tuple(line.get(column, "") for column in columns), line["source"] != "ours") for line in lines
    )
    return TextTable("All statistics", tuple(columns), rows, name_columns=3)


def curves(statistics: Sequence[SummaryStatistics]) -> TextTable:
    """Return pass@k and majority@k for every k, in per cent."""
    rows = []
    for one in statistics:
        for k, (passed, voted) in enumerate(zip(one.pass_at, one.majority_at, strict=True), start=1):
            cells = (percent(value) for rate in (voted, passed) for value in (rate.value, rate.low, rate.high))
            rows.append(TableRow((one.configuration, one.benchmark, str(k), *cells)))
    rates = ("majority", "majority_low", "majority_high", "pass", "pass_low", "pass_high")
    return TextTable("Curves", ("configuration", "benchmark", "k", *rates), tuple(rows), name_columns=3)


def _measured_cells(one: SummaryStatistics | None, k: int) -> tuple[str, str, str]:
    if one is None:
        return "", "", ""
    rates = percent_with_interval(one.majority_at[k - 1]), percent_with_interval(one.mean)
    return *rates, f"{one.tokens.mean.value:.0f}"


def _published_cells(one: PublishedResult | None, k: int) -> tuple[str, str, str]:
    if one is None:
        return "", "", ""
    other_k = "" if k == PUBLISHED_K or one.majority is None else f" (majority@{PUBLISHED_K})"
    return _number(one.majority) + other_k, "", "" if one.mean_tokens is None else f"{one.mean_tokens:.0f}"


def _columns(one: SummaryStatistics, k: int) -> Iterator[tuple[str, str]]:
    yield from (("source", "ours"), ("configuration", one.configuration), ("benchmark", one.benchmark), ("k", str(k)))
    for name, rate in (("majority", one.majority_at[k - 1]), ("mean", one.mean), ("pass", one.pass_at[k - 1])):
        yield from _interval_columns(name, rate, 100)
    if one.score:
        yield from _interval_columns("score", one.score, 100)
    for name, lengths in (("tokens", one.tokens), ("model_tokens", one.model_tokens), ("tool_tokens", one.tool_tokens)):
        yield from _interval_columns(name, lengths.mean)
        yield from ((f"{name}_{at}", f"{getattr(lengths, at):.1f}") for at in ("p50", "p90", "p99"))
    yield from _interval_columns("snippets", one.snippets)
    yield "snippet_failures", percent(one.snippet_failure_rate)
    yield "outcomes", _frequencies(one.outcomes)
    yield "statuses", _frequencies(one.statuses)
    yield "reasons", _frequencies(one.reasons)
    counts = {"problems": one.problems, "ties": one.tied, "problems_short_of_k": one.problems_short_of(k)}
    counts |= {"samples": one.samples, "unjudged": one.unjudged, "lost": one.lost, "failures": one.failures}
    yield from ((name, str(count)) for name, count in counts.items())


def _interval_columns(name: str, one: Estimate, scale: int = 1) -> Iterator[tuple[str, str]]:
    for column, value in ((name, one.value), (f"{name}_low", one.low), (f"{name}_high", one.high)):
        yield column, _number(scale * value)


def _rounded_with_interval(one: Estimate) -> str:
    return f"{one.value:.0f} [{one.low:.0f}, {one.high:.0f}]"


def _frequencies(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name.lower().replace('_', ' ')}" for name, count in counts.items())


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _result(first: float, second: float) -> str:
    return "win" if first > second else "loss" if first < second else "same"

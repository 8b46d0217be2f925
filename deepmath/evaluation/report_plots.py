"""Plots of a report as PNG and SVG. Equal statistics give byte-identical SVG."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deepmath.evaluation.breakdown_tables import graded_benchmarks
from deepmath.evaluation.estimators import Estimate
from deepmath.evaluation.published_results import PUBLISHED_K, PublishedResults
from deepmath.evaluation.summary_statistics import SummaryStatistics
from deepmath.printable_text import printable_line

_STYLE = {
    "svg.hashsalt": "deepmath",
    "text.parse_math": False,  # a benchmark's name may contain $
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}
_PANEL_INCHES = (4.6, 3.6)
_DOTS_PER_INCH = 120
_COLUMNS = 2
_BINS = 30
_MAX_LABEL_CHARACTERS = 60
_DODGE = 0.04
"""Distance between the error bars of configurations at one difficulty."""
_SHARE_LIMITS = (-4, 104)  # per cent, with room for markers

Colours = Mapping[str, str]
"""Colours by configuration or by outcome, the same in all panels."""


def write_plots(
    statistics: Sequence[SummaryStatistics], ks: Mapping[str, int], published: PublishedResults, folder: Path
) -> dict[str, Path]:
    """Write each plot into `folder` as NAME.png and NAME.svg; return the SVG files by title.

    `ks` is the number of samples that vote, by benchmark. Each benchmark has its own panel. Error bars and bands are
    95 % intervals.
    """
    folder.mkdir(parents=True, exist_ok=True)
    colours = _colours(one.configuration for one in statistics)
    outcomes = _colours(["OK", *(outcome for one in statistics for outcome in one.outcomes)])
    plots: dict[str, tuple[str, Callable[[Axes, list[SummaryStatistics]], None]]] = {
        "accuracy": (
            "Accuracy against output length",
            lambda ax, own: _plot_accuracy(ax, own, ks[own[0].benchmark], published, colours),
        ),
        "difficulty": (
            "Accuracy against difficulty",
            lambda ax, own: _plot_difficulty(ax, own, ks[own[0].benchmark], colours),
        ),
        "lengths": ("Output length", lambda ax, own: _plot_lengths(ax, own, colours)),
        "majority": ("majority@k, and pass@k (dotted)", lambda ax, own: _plot_majority(ax, own, colours)),
        "snippets": ("Snippets by outcome", lambda ax, own: _plot_snippets(ax, own, outcomes)),
    }
    graded = graded_benchmarks(statistics, ks)
    written = {}
    with mpl.rc_context(_STYLE):
        for name, (title, fill) in plots.items():
            benchmarks = graded if name == "difficulty" else ks
            if panels := [[one for one in statistics if one.benchmark == benchmark] for benchmark in benchmarks]:
                written[title] = _save(_figure(title, panels, fill), folder / name)
    return written


def _figure(
    title: str, panels: Sequence[list[SummaryStatistics]], fill: Callable[[Axes, list[SummaryStatistics]], None]
) -> Figure:
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    width, height = _PANEL_INCHES
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    figure.suptitle(title)
    axes = [figure.add_subplot(rows, columns, at + 1) for at in range(len(panels))]
    for ax, own in zip(axes, panels, strict=True):
        ax.set_title(_label(own[0].benchmark))
        fill(ax, own)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(fontsize="small")
    return figure


def _plot_accuracy(
    ax: Axes, own: Sequence[SummaryStatistics], k: int, published: PublishedResults, colours: Colours
) -> None:
    for one in own:
        tokens, rate = one.tokens.mean, one.majority_at[k - 1]
        ax.errorbar(
            tokens.value,
            100 * rate.value,
            xerr=_error_bars(tokens),
            yerr=[[100 * arm for arm in arms] for arms in _error_bars(rate)],
            fmt="o",
            capsize=2,
            color=colours[one.configuration],
            label=_label(one.configuration),
        )
    any_published = False
    for row in published.rows:
        if row.benchmark == own[0].benchmark and row.majority is not None and row.mean_tokens is not None:
            colour = colours.get(row.configuration, "black")
            ax.plot(row.mean_tokens, row.majority, "D", markerfacecolor="none", color=colour)
            any_published = True
    if any_published:
        ax.plot([], [], "D", markerfacecolor="none", color="black", label=f"published, majority@{PUBLISHED_K}")
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.set(xlabel="tokens per sample", ylabel=f"majority@{k}, %")


def _plot_difficulty(ax: Axes, own: Sequence[SummaryStatistics], k: int, colours: Colours) -> None:
    levels = sorted({level for one in own for level in one.difficulties})
    for at, one in enumerate(own):
        colour, places = colours[one.configuration], list(one.difficulties)
        beside = [level + _DODGE * (at - (len(own) - 1) / 2) for level in places]
        voted = [group.majority(k) for group in one.difficulties.values()]
        arms = [[100 * arm for (arm,) in side] for side in zip(*map(_error_bars, voted), strict=True)]
        heights = [100 * rate.value for rate in voted]
        ax.errorbar(
            beside, heights, yerr=arms or None, fmt="o-", capsize=2, color=colour, label=_label(one.configuration)
        )
        ax.plot(beside, [100 * group.mean.value for group in one.difficulties.values()], ".:", color=colour)
    ax.set_xticks(levels)
    ax.set(xlabel="difficulty", ylabel=f"majority@{k} (dotted: mean), %", ylim=_SHARE_LIMITS)


def _plot_lengths(ax: Axes, own: Sequence[SummaryStatistics], colours: Colours) -> None:
    longest = max(1, *(one.lengths[-1] for one in own))
    edges = [longest * at / _BINS for at in range(_BINS + 1)]
    for one in own:
        share = [100 / len(one.lengths)] * len(one.lengths)
        colour = colours[one.configuration]
        ax.hist(one.lengths, edges, weights=share, histtype="step", color=colour, label=_label(one.configuration))
        ax.axvline(one.tokens.mean.value, color=colour, linestyle=":", linewidth=1)
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.set(xlabel="tokens per sample (dotted: mean)", ylabel="samples, %")


def _plot_majority(ax: Axes, own: Sequence[SummaryStatistics], colours: Colours) -> None:
    for one in own:
        every_k, colour = range(1, one.max_k + 1), colours[one.configuration]
        voted = one.majority_at
        marker = "." if one.max_k < 33 else ""
        ax.plot(
            every_k, [100 * rate.value for rate in voted], marker=marker, color=colour, label=_label(one.configuration)
        )
        ax.fill_between(
            every_k, [100 * rate.low for rate in voted], [100 * rate.high for rate in voted], color=colour, alpha=0.12
        )
        ax.plot(every_k, [100 * rate.value for rate in one.pass_at], ":", color=colour)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="k", ylabel="%")


def _plot_snippets(ax: Axes, own: Sequence[SummaryStatistics], colours: Colours) -> None:
    bottoms = [0.0] * len(own)
    for outcome, colour in colours.items():
        heights = [one.outcomes.get(outcome, 0) / one.samples for one in own]
        if any(heights):
            label = _label(outcome.lower().replace("_", " "))
            ax.bar(range(len(own)), heights, bottom=bottoms, color=colour, label=label)
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    ax.set_xticks(range(len(own)), [_label(one.configuration) for one in own], rotation=15)
    ax.set_ylabel("snippets per sample")


def _label(name: str) -> str:
    """Return a name as a label: matplotlib leaves out those that start with an underscore."""
    label = printable_line(name, _MAX_LABEL_CHARACTERS)
    return f" {label}" if label.startswith("_") else label


def _colours(names: Iterable[str]) -> dict[str, str]:
    return {name: f"C{at}" for at, name in enumerate(dict.fromkeys(names))}


def _error_bars(one: Estimate) -> list[list[float]]:
    """Return the distances of the interval's ends from the mean. Rounding may leave the mean just outside."""
    return [[max(0.0, one.value - one.low)], [max(0.0, one.high - one.value)]]


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path.with_suffix(".png"), dpi=_DOTS_PER_INCH)
    svg = path.with_suffix(".svg")
    figure.savefig(svg, metadata={"Date": None})
    return svg

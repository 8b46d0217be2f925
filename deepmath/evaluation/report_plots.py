"""The figures of a report as pictures. The same figures give the same bytes of SVG."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

from deepmath.evaluation.estimators import Estimate
from deepmath.evaluation.published_results import K, Published
from deepmath.evaluation.summary_statistics import SummaryStatistics

mpl.use("agg")  # no display

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_STYLE = {
    "svg.hashsalt": "deepmath",
    "text.parse_math": False,  # a benchmark may be called $
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}
_PANEL_INCHES = (4.6, 3.6)
_DOTS_PER_INCH = 120
_COLUMNS = 2
_BINS = 30

Colours = Mapping[str, str]
"""Of each configuration, or of each outcome: the same in all panels."""


def draw(
    figures: Sequence[SummaryStatistics], ks: Mapping[str, int], published: Published, folder: Path
) -> dict[str, Path]:
    """Write each plot into `folder` as NAME.png and NAME.svg; return the title and the SVG of each.

    `ks` says how many samples vote, by benchmark: each has a panel of its own. Bars and bands are 95 % intervals.
    """
    folder.mkdir(parents=True, exist_ok=True)
    colours = _colours(one.configuration for one in figures)
    outcomes = _colours(["OK", *(outcome for one in figures for outcome in one.outcomes)])
    plots: dict[str, tuple[str, Callable[[Axes, list[SummaryStatistics]], None]]] = {
        "accuracy": (
            "Accuracy against output length",
            lambda ax, own: _accuracy(ax, own, ks[own[0].benchmark], published, colours),
        ),
        "lengths": ("Output length", lambda ax, own: _lengths(ax, own, colours)),
        "majority": ("Majority of k samples, and any of k (dotted)", lambda ax, own: _majority(ax, own, colours)),
        "snippets": ("Snippets and what became of them", lambda ax, own: _snippets(ax, own, outcomes)),
    }
    panels = [[one for one in figures if one.benchmark == benchmark] for benchmark in ks]
    with mpl.rc_context(_STYLE):
        return {title: _write(_picture(title, panels, fill), folder / name) for name, (title, fill) in plots.items()}


def _picture(
    title: str, panels: Sequence[list[SummaryStatistics]], fill: Callable[[Axes, list[SummaryStatistics]], None]
) -> Figure:
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    width, height = _PANEL_INCHES
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    figure.suptitle(title)
    axes = [figure.add_subplot(rows, columns, at + 1) for at in range(len(panels))]
    for ax, own in zip(axes, panels, strict=True):
        ax.set_title(own[0].benchmark)
        fill(ax, own)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(fontsize="small")
    return figure


def _accuracy(ax: Axes, own: Sequence[SummaryStatistics], k: int, published: Published, colours: Colours) -> None:
    for one in own:
        tokens, rate = one.tokens.mean, one.majority_at[k - 1]
        ax.errorbar(
            tokens.value,
            100 * rate.value,
            xerr=_arms(tokens),
            yerr=[[100 * arm for arm in arms] for arms in _arms(rate)],
            fmt="o",
            capsize=2,
            color=colours[one.configuration],
            label=one.configuration,
        )
    theirs = False
    for row in published.rows:
        if row.benchmark == own[0].benchmark and row.majority is not None and row.mean_tokens is not None:
            colour = colours.get(row.configuration, "black")
            ax.plot(row.mean_tokens, row.majority, "D", markerfacecolor="none", color=colour)
            theirs = True
    if theirs:
        ax.plot([], [], "D", markerfacecolor="none", color="black", label=f"published, majority@{K}")
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.set(xlabel="tokens of a sample", ylabel=f"majority@{k}, %")


def _lengths(ax: Axes, own: Sequence[SummaryStatistics], colours: Colours) -> None:
    longest = max(1, *(one.lengths[-1] for one in own))
    edges = [longest * at / _BINS for at in range(_BINS + 1)]
    for one in own:
        share = [100 / len(one.lengths)] * len(one.lengths)
        colour = colours[one.configuration]
        ax.hist(one.lengths, edges, weights=share, histtype="step", color=colour, label=one.configuration)
        ax.axvline(one.tokens.mean.value, color=colour, linestyle=":", linewidth=1)
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.set(xlabel="tokens of a sample (dotted: mean)", ylabel="samples, %")


def _majority(ax: Axes, own: Sequence[SummaryStatistics], colours: Colours) -> None:
    for one in own:
        every_k, colour = range(1, one.drawn + 1), colours[one.configuration]
        voted = one.majority_at
        marker = "." if one.drawn < 33 else ""
        ax.plot(every_k, [100 * rate.value for rate in voted], marker=marker, color=colour, label=one.configuration)
        ax.fill_between(
            every_k, [100 * rate.low for rate in voted], [100 * rate.high for rate in voted], color=colour, alpha=0.12
        )
        ax.plot(every_k, [100 * rate.value for rate in one.pass_at], ":", color=colour)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="k", ylabel="%")


def _snippets(ax: Axes, own: Sequence[SummaryStatistics], colours: Colours) -> None:
    bottoms = [0.0] * len(own)
    for outcome, colour in colours.items():
        heights = [one.outcomes.get(outcome, 0) / one.samples for one in own]
        if any(heights):
            label = outcome.lower().replace("_", " ")
            ax.bar(range(len(own)), heights, bottom=bottoms, color=colour, label=label)
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    ax.set_xticks(range(len(own)), [one.configuration for one in own], rotation=15)
    ax.set_ylabel("snippets of a sample")


def _colours(names: Iterable[str]) -> dict[str, str]:
    return {name: f"C{at}" for at, name in enumerate(dict.fromkeys(names))}


def _arms(one: Estimate) -> list[list[float]]:
    """Return how far its interval reaches to either side; rounding may leave the mean just outside."""
    return [[max(0.0, one.value - one.low)], [max(0.0, one.high - one.value)]]


def _write(figure: Figure, path: Path) -> Path:
    figure.savefig(path.with_suffix(".png"), dpi=_DOTS_PER_INCH)
    svg = path.with_suffix(".svg")
    figure.savefig(svg, metadata={"Date": None})
    return svg

"""Plots of a run's metrics."""

import itertools
import math
from pathlib import Path
from typing import Any

import matplotlib as mpl

from deepmath_trainer.run_folder import RunFolder

mpl.use("agg")  # no display

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# File, title, unit of the vertical axis, metrics with their labels, and the axis' limits if fixed.
_PLOTS: tuple[tuple[str, str, str, dict[str, str], tuple[float, float] | None], ...] = (
    ("reward", "Reward", "reward", {"reward": "batch mean"}, None),
    ("accuracy", "Accuracy", "share of trajectories", {"accuracy": "correct"}, (0, 1)),
    (
        "code_rate",
        "Code",
        "share of trajectories",
        {"code_rate": "called", "code_executed_rate": "succeeded", "code_used_rate": "output used"},
        (0, 1),
    ),
    ("length", "Length", "tokens", {"model_tokens": "model", "tool_tokens": "tools"}, None),
    ("temperature", "Temperature", "temperature", {"temperature": "sampling and loss"}, None),
    (
        "groups",
        "Groups without an advantage",
        "groups",
        {"flat_groups": "in the batch", "resampled_groups": "replaced"},
        None,
    ),
    (
        "pools",
        "Problems by estimated pass rate",
        "share of the problems",
        {"pool_easy": "easy", "pool_in_reach": "in reach", "pool_hopeless": "hopeless"},
        (0, 1),
    ),
)
_EVALUATION_METRICS = {"accuracy": "accuracy", "code_rate": "code_rate", "length": "model_tokens"}
_SMOOTHING = 0.05  # half width of the moving mean, as a share of the steps
_SIZE_INCHES = (6.0, 3.6)
_DPI = 120


def draw_plots(folder: RunFolder) -> list[Path]:
    """Write a PNG for each plot, and `overview.png` with all of them, to the run's plots folder; return their paths.

    Points are optimizer steps, lines their moving means, diamonds the evaluations before and after training.
    """
    lines, evaluation = folder.read_metrics(), folder.read_evaluation()
    folder.plots.mkdir(exist_ok=True)
    paths = []
    for name, *_ in _PLOTS:
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        _plot(figure.subplots(), name, lines, evaluation)
        paths.append(_save(figure, folder.plots / f"{name}.png"))
    width, height = _SIZE_INCHES
    columns = math.ceil(len(_PLOTS) / 2)
    overview = Figure(figsize=(columns * width, 2 * height), layout="constrained")
    overview.suptitle(folder.name)
    for ax, plot in itertools.zip_longest(overview.subplots(2, columns).flat, _PLOTS):
        if plot:
            _plot(ax, plot[0], lines, evaluation)
        else:
            ax.set_axis_off()
    return [*paths, _save(overview, folder.plots / "overview.png")]


def _plot(ax: Axes, name: str, lines: list[dict[str, Any]], evaluation: dict[str, Any]) -> None:
    title, unit, metrics, limits = next(plot[1:] for plot in _PLOTS if plot[0] == name)
    for metric, label in metrics.items():
        points = [(line["step"], value) for line in lines if (value := line["metrics"].get(metric)) is not None]
        if points:
            _curve(ax, label, *zip(*points, strict=True))
    if evaluated := _EVALUATION_METRICS.get(name):
        marks = [
            (at, evaluation[when][evaluated]) for when, at in _evaluation_steps(lines).items() if when in evaluation
        ]
        if marks:
            ax.plot(*zip(*marks, strict=True), "D", color="black", label="test problems")
    ax.set(title=title, xlabel="optimizer step", ylabel=unit)
    if limits:
        ax.set_ylim(limits[0] - 0.02, limits[1] + 0.02)
    ax.grid(alpha=0.3)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False)


def _curve(ax: Axes, label: str, steps: tuple[int, ...], values: tuple[float, ...]) -> None:
    (line,) = ax.plot(steps, _smooth(values), label=label)
    ax.plot(steps, values, ".", color=line.get_color(), alpha=0.25)


def _smooth(values: tuple[float, ...]) -> list[float]:
    """Return the centred moving mean; the window shrinks towards the ends, so that trends are not shifted."""
    half_width, last = round(_SMOOTHING * len(values)), len(values) - 1
    windows = ((at, min(half_width, at, last - at)) for at in range(len(values)))
    return [sum(values[at - near : at + near + 1]) / (2 * near + 1) for at, near in windows]


def _evaluation_steps(lines: list[dict[str, Any]]) -> dict[str, int]:
    return {"before": 0, "after": max((line["step"] for line in lines), default=0)}


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=_DPI)
    return path

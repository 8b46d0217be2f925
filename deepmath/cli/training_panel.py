"""A training run as a live panel: progress, metric curves, and a sample that the model wrote."""

import itertools
import math
import time
from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel as Frame
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deepmath.cli.text_console import TextConsole, line
from deepmath.trainer.v1 import trainer_pb2 as pb

# Metric, label, format, and the colour of its curve.
_ROWS = (
    ("reward", "reward", "{:.3f}", "green"),
    ("accuracy", "accuracy", "{:.1%}", "green"),
    ("code_executed_rate", "code use", "{:.1%}", "green"),
    ("flat_groups", "flat groups", "{:.0f}", "green"),
    ("pool_in_reach", "problems in reach", "{:.0%}", "green"),
    ("model_tokens", "output tokens", "{:.0f}", "cyan"),
    ("kl", "KL", "{:.4f}", "cyan"),
    ("temperature", "temperature", "{:.2f}", "cyan"),
    ("staleness", "staleness", "{:.1f}", "blue"),
    ("generator_idle", "generator idle", "{:.0%}", "blue"),
    ("trainer_idle", "trainer idle", "{:.0%}", "blue"),
    ("step_seconds", "seconds per step", "{:.1f}", "blue"),
)
_BARS = "▁▂▃▄▅▆▇█"
_HISTORY_STEPS = 400  # per metric
_TRACE_LINES = 8
_MAX_LINE_CHARACTERS = 1000
_REFRESHES_PER_S = 4


class TrainingPanel:
    """Shows the updates of a run in place; a context manager."""

    def __init__(self, console: TextConsole) -> None:
        self._console = console
        self._run = pb.Run()
        self._history: dict[str, deque[float]] = {}
        self._trace: pb.SampleTrace | None = None
        self._notice = ""
        self._started = time.monotonic()
        self._live = Live(
            console=console,
            get_renderable=self.render,
            refresh_per_second=_REFRESHES_PER_S,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, update: pb.WatchRunResponse) -> None:
        """Keep an update; the screen refreshes by itself."""
        match update.WhichOneof("update"):
            case "run":
                self._run = update.run
            case "metrics":
                for name, value in update.metrics.metrics.items():
                    if math.isfinite(value):
                        self._history.setdefault(name, deque(maxlen=_HISTORY_STEPS)).append(value)
            case "trace":
                self._trace = update.trace

    def notify(self, text: str) -> None:
        """Show a notice at the bottom."""
        self._notice = text

    def render(self) -> RenderableType:
        """Return the current content of the screen."""
        parts: list[RenderableType] = [self._render_progress(), self._render_metrics()]
        if self._run.waiting_for:
            parts.append(line(f"waiting for a generator: {self._run.waiting_for}", "yellow"))
        if self._trace:
            parts.append(_render_sample(self._trace))
        if self._notice:
            parts.append(line(self._notice, "yellow"))
        return Frame(Group(*parts), title=_cut(self._run.name), title_align="left", border_style="dim")

    def _render_progress(self) -> RenderableType:
        run, seconds = self._run, time.monotonic() - self._started
        status = pb.Status.Name(run.status).removeprefix("STATUS_").lower()
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True)
        bar = ProgressBar(total=max(run.steps, 1), completed=run.step)
        grid.add_row(f"{status}, step {run.step} of {run.steps}", bar, f"{_clock(seconds)}{self._remaining()}")
        return grid

    def _remaining(self) -> str:
        seconds = self._history.get("step_seconds")
        left = self._run.steps - self._run.step
        return f", {_clock(left * sum(seconds) / len(seconds))} to go" if seconds and left > 0 else ""

    def _render_metrics(self) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0), expand=True, show_header=False)
        table.add_column(no_wrap=True, style="dim")
        table.add_column(no_wrap=True, justify="right")
        table.add_column(ratio=1, no_wrap=True)
        table.add_column(no_wrap=True, style="dim")
        room = max(8, self._console.width - 52)
        for name, label, form, colour in _ROWS:
            if values := self._history.get(name):
                span = f"{form.format(min(values))} to {form.format(max(values))}"
                table.add_row(label, form.format(values[-1]), Text(sparkline(list(values), room), colour), span)
        return table


def sparkline(values: list[float], width: int) -> str:
    """Return at most `width` bars, scaled from the minimum to the maximum; each is the mean of adjacent `values`."""
    columns = min(width, len(values))
    edges = [at * len(values) // columns for at in range(columns + 1)] if columns else []
    means = [sum(values[low:high]) / (high - low) for low, high in itertools.pairwise(edges)]
    lowest, span = min(means, default=0.0), max(means, default=0.0) - min(means, default=0.0)
    heights = (round((mean - lowest) / span * (len(_BARS) - 1)) if span else 0 for mean in means)
    return "".join(_BARS[height] for height in heights)


def _render_sample(trace: pb.SampleTrace) -> RenderableType:
    reward = f"reward {trace.reward:.2f}" if trace.HasField("reward") else "no reward"
    verdict = f"step {trace.step}: answer {trace.answer or 'none'}, expected {trace.gold}, {reward}"
    rows = [row for row in trace.text.split("\n") if row.strip()]
    shown = rows if len(rows) <= _TRACE_LINES else [*rows[: _TRACE_LINES // 2], "...", *rows[-_TRACE_LINES // 2 :]]
    body = [_cut(row, "dim") for row in shown]
    return Group(Text(""), _cut(trace.problem, "bold"), *body, _cut(verdict))


def _cut(content: str, style: str = "") -> Text:
    """Return the part of `content` that fits on one line."""
    return line(content[:_MAX_LINE_CHARACTERS], style, no_wrap=True, overflow="ellipsis")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

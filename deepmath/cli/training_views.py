"""Views of a training run: a live panel for a terminal, lines for a log, JSON for a program."""

import math
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from rich.table import Table

from deepmath.cli.output_streams import print_json
from deepmath.cli.text_console import TextConsole, line
from deepmath.cli.training_panel import TrainingPanel
from deepmath.observability.log_line import timestamp
from deepmath.printable_text import json_line, print_error, printable_line
from deepmath.trainer.v1 import trainer_pb2 as pb

# Metric, label, and decimals, in the order of a log line.
_LOGGED_METRICS = (
    ("reward", "reward", 2),
    ("accuracy", "accuracy", 2),
    ("code_executed_rate", "code", 2),
    ("model_tokens", "tokens", 0),
    ("kl", "kl", 4),
    ("temperature", "temperature", 2),
    ("staleness", "staleness", 1),
    ("generator_idle", "generator idle", 2),
    ("trainer_idle", "trainer idle", 2),
    ("step_seconds", "seconds", 1),
)
_EVALUATION_FIELDS = (
    ("accuracy", "accuracy", "{:.1%}"),
    ("code_rate", "calls Python", "{:.1%}"),
    ("code_executed_rate", "calls that ran", "{:.1%}"),
    ("model_tokens", "output tokens", "{:.1f}"),
    ("problems", "problems", "{}"),
    ("failed", "failed", "{}"),
)


class TrainingView(Protocol):
    """Shows the updates of a run; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def show(self, update: pb.WatchRunResponse) -> None:
        """Show an update."""

    def notify(self, text: str) -> None:
        """Show a notice."""


def select_view(as_json: bool) -> TrainingView:
    """Return JSON lines if `as_json`, a live panel on a terminal, and plain lines otherwise."""
    if as_json:
        return TrainingJsonLines()
    console = TextConsole()
    return TrainingPanel(console) if console.is_terminal else TrainingLog()


def notify(text: str, as_json: bool) -> None:
    """Write a notice to stderr, as an object with `event` if `as_json`."""
    line = json_line({"event": "notice", "time": timestamp(time.time()), "message": text}, ascii_only=True)
    print(line if as_json else printable_line(text), file=sys.stderr, flush=True)


class _StreamView:
    _as_json = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def notify(self, text: str) -> None:
        """Write the notice to stderr."""
        notify(text, self._as_json)


class TrainingLog(_StreamView):
    """One line per step, per evaluation and per wait."""

    def __init__(self) -> None:
        self._run = pb.Run()

    def show(self, update: pb.WatchRunResponse) -> None:
        """Print a line for a step, a new evaluation, or a wait."""
        match update.WhichOneof("update"):
            case "metrics":
                print(_step_line(update.metrics, self._run.steps), flush=True)
            case "run":
                for when in ("before", "after"):
                    if update.run.HasField(when) and not self._run.HasField(when):
                        print(f"{when} training: {_evaluation_line(getattr(update.run, when))}", flush=True)
                if update.run.waiting_for not in ("", self._run.waiting_for):
                    print(f"waiting for a generator: {printable_line(update.run.waiting_for)}", flush=True)
                self._run = update.run


class TrainingJsonLines(_StreamView):
    """One object per update, with the contract's field names and `event`: run, metrics or trace."""

    _as_json = True

    def show(self, update: pb.WatchRunResponse) -> None:
        """Print the object."""
        event = update.WhichOneof("update")
        assert event
        print_json({"event": event, **_to_dict(event, update)})


def _to_dict(event: str, update: pb.WatchRunResponse) -> dict[str, Any]:
    if event == "metrics":
        metrics = {name: value if math.isfinite(value) else None for name, value in update.metrics.metrics.items()}
        return {"step": update.metrics.step, "time": timestamp(update.metrics.time), "metrics": metrics}
    if event == "trace":
        trace = update.trace
        reward = trace.reward if trace.HasField("reward") else None
        texts = {"problem": trace.problem, "gold": trace.gold, "answer": trace.answer, "text": trace.text}
        return {"step": trace.step, "reward": reward, **texts}
    run = update.run
    evaluations = {when: _evaluation_dict(getattr(run, when)) for when in ("before", "after") if run.HasField(when)}
    return {
        "name": run.name,
        "status": pb.Status.Name(run.status).removeprefix("STATUS_").lower(),
        "step": run.step,
        "steps": run.steps,
        "policy_version": run.policy_version,
        "error": run.error,
        "waiting_for": run.waiting_for,
        "folder": run.folder,
        **evaluations,
    }


def show_outcome(run: pb.Run, resume: str) -> None:
    """Print the evaluations before and after, then the files of a finished run or the `resume` command."""
    console = TextConsole()
    if run.HasField("before") or run.HasField("after"):
        console.print(_evaluation_table(run))
    if run.status == pb.STATUS_DONE:
        for label, path in _result_files(Path(run.folder)):
            console.print(line(f"{label:<10}{path}"), soft_wrap=True)
        return
    if run.status == pb.STATUS_STOPPED:
        console.print(f"stopped after step {run.step} of {run.steps}")
    else:
        print_error("deepmath", f"the run failed after step {run.step} of {run.steps}: {run.error}")
    if resume.split(" --name")[0] not in run.error:
        console.print(line(f"resume with: {resume}"), soft_wrap=True)


def _evaluation_table(run: pb.Run) -> Table:
    table = Table("", *(when for when in ("before", "after") if run.HasField(when)), box=None, pad_edge=False)
    evaluations = [getattr(run, when) for when in ("before", "after") if run.HasField(when)]
    for name, label, form in _EVALUATION_FIELDS:
        table.add_row(label, *(form.format(getattr(evaluation, name)) for evaluation in evaluations))
    return table


def _result_files(folder: Path) -> list[tuple[str, Path]]:
    """Return the main results of a run in its folder, which may be on another machine: the trainer's."""
    return [("adapter", folder / "adapter"), ("plots", folder / "plots"), ("metrics", folder / "metrics.jsonl")]


def _step_line(step: pb.StepMetrics, steps: int) -> str:
    known = ((label, step.metrics[name], digits) for name, label, digits in _LOGGED_METRICS if name in step.metrics)
    parts = [f"{label} {value:.{digits}f}" for label, value, digits in known]
    return f"step {step.step:>{len(str(steps))}}/{steps}  " + "  ".join(parts)


def _evaluation_dict(evaluation: pb.Evaluation) -> dict[str, float]:
    return {name: getattr(evaluation, name) for name, _, _ in _EVALUATION_FIELDS}


def _evaluation_line(evaluation: pb.Evaluation) -> str:
    return ", ".join(f"{label} {form.format(getattr(evaluation, name))}" for name, label, form in _EVALUATION_FIELDS)

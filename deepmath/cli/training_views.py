"""What happens in a run of training, for a terminal, for a log and for a program."""

import json
import math
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.table import Table

from deepmath.cli.training_panel import Panel
from deepmath.trainer.v1 import trainer_pb2 as pb

# Metric, label, digits after the point. In the order of a line of the log.
_IN_A_LINE = (
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
_EVALUATED = (
    ("accuracy", "accuracy", "{:.1%}"),
    ("code_rate", "calls Python", "{:.1%}"),
    ("code_executed_rate", "calls that ran", "{:.1%}"),
    ("model_tokens", "tokens written", "{:.1f}"),
    ("problems", "problems", "{}"),
    ("failed", "failed", "{}"),
)


class View(Protocol):
    """Shows the updates of a run while its block lasts."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def show(self, update: pb.WatchRunResponse) -> None:
        """Show what has happened."""

    def tell(self, text: str) -> None:
        """Show a sentence."""


def view(as_json: bool) -> View:
    """Return JSON lines where they were asked for, a live panel on a terminal, and plain lines elsewhere."""
    if as_json:
        return JsonLines()
    console = Console()
    return Panel(console) if console.is_terminal else Lines()


class _Log:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def tell(self, text: str) -> None:
        """Write the sentence to stderr."""
        print(text, file=sys.stderr, flush=True)


class Lines(_Log):
    """A line for each step."""

    def __init__(self) -> None:
        self._run = pb.Run()

    def show(self, update: pb.WatchRunResponse) -> None:
        """Print a line for a step, and one for an evaluation."""
        match update.WhichOneof("update"):
            case "metrics":
                print(_line(update.metrics, self._run.steps), flush=True)
            case "run":
                for when in ("before", "after"):
                    if update.run.HasField(when) and not self._run.HasField(when):
                        print(f"{when} training: {_evaluated(getattr(update.run, when))}", flush=True)
                self._run = update.run


class JsonLines(_Log):
    """An object for each update, with the contract's field names and `event`: run, metrics or trace."""

    def show(self, update: pb.WatchRunResponse) -> None:
        """Print the object."""
        event = update.WhichOneof("update")
        assert event
        print(json.dumps({"event": event, **_as_object(event, update)}, ensure_ascii=False), flush=True)


def _as_object(event: str, update: pb.WatchRunResponse) -> dict[str, Any]:
    if event == "metrics":
        metrics = {name: value if math.isfinite(value) else None for name, value in update.metrics.metrics.items()}
        return {"step": update.metrics.step, "time": update.metrics.time, "metrics": metrics}
    if event == "trace":
        trace = update.trace
        reward = trace.reward if trace.HasField("reward") else None
        texts = {"problem": trace.problem, "gold": trace.gold, "answer": trace.answer, "text": trace.text}
        return {"step": trace.step, "reward": reward, **texts}
    run = update.run
    evaluations = {when: _figures(getattr(run, when)) for when in ("before", "after") if run.HasField(when)}
    return {
        "name": run.name,
        "status": status(run),
        "step": run.step,
        "steps": run.steps,
        "policy_version": run.policy_version,
        "error": run.error,
        "folder": run.folder,
        **evaluations,
    }


def status(run: pb.Run) -> str:
    """Return the status of a run as a word."""
    return pb.Status.Name(run.status).removeprefix("STATUS_").lower()


def show_end(run: pb.Run, resume: str) -> None:
    """Show how a run ended: before and after, where everything is, or how to go on with it by the command `resume`."""
    console = Console(highlight=False, soft_wrap=True)
    if run.HasField("before") or run.HasField("after"):
        console.print(_table(run))
    if run.status == pb.STATUS_DONE:
        for label, path in _results(Path(run.folder)):
            console.print(f"{label:<10}{path}", markup=False)
        return
    if run.status == pb.STATUS_STOPPED:
        console.print(f"stopped after step {run.step} of {run.steps}", markup=False)
    else:
        print(f"deepmath: the run failed after step {run.step} of {run.steps}: {run.error}", file=sys.stderr)
    if resume.split(" --name")[0] not in run.error:
        console.print(f"go on with: {resume}", markup=False)


def _table(run: pb.Run) -> Table:
    table = Table("", *(when for when in ("before", "after") if run.HasField(when)), box=None, pad_edge=False)
    sides = [getattr(run, when) for when in ("before", "after") if run.HasField(when)]
    for name, label, form in _EVALUATED:
        table.add_row(label, *(form.format(getattr(side, name)) for side in sides))
    return table


def _results(folder: Path) -> list[tuple[str, Path]]:
    """Return what of a finished run is worth a look. It is at the trainer, which may be another machine."""
    return [("adapter", folder / "adapter"), ("plots", folder / "plots"), ("metrics", folder / "metrics.jsonl")]


def _line(step: pb.StepMetrics, steps: int) -> str:
    known = ((label, step.metrics[name], digits) for name, label, digits in _IN_A_LINE if name in step.metrics)
    parts = [f"{label} {value:.{digits}f}" for label, value, digits in known]
    return f"step {step.step:>{len(str(steps))}}/{steps}  " + "  ".join(parts)


def _figures(evaluation: pb.Evaluation) -> dict[str, float]:
    return {name: getattr(evaluation, name) for name, _, _ in _EVALUATED}


def _evaluated(evaluation: pb.Evaluation) -> str:
    return ", ".join(f"{label} {form.format(getattr(evaluation, name))}" for name, label, form in _EVALUATED)

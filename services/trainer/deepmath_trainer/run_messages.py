"""Conversion of a run's folder to the messages of the trainer's contract."""

import math
from typing import Any

from deepmath.trainer.v1 import trainer_pb2 as pb
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.run_state import RunState


def run_message(folder: RunFolder, state: RunState, config_yaml: str = "") -> pb.Run:
    """Return the run."""
    evaluation = folder.read_evaluation()
    return pb.Run(
        name=folder.name,
        status=pb.Status.Value(f"STATUS_{state.status.upper()}"),
        step=state.step,
        steps=state.steps,
        policy_version=state.policy_version,
        error=state.error,
        waiting_for=state.waiting_for if state.status == "waiting" else "",
        misconfigured=state.misconfigured,
        updated=state.updated,
        folder=str(folder.path.absolute()),
        config_yaml=config_yaml,
        before=_evaluation(evaluation.get("before")),
        after=_evaluation(evaluation.get("after")),
    )


def metrics_message(line: dict[str, Any]) -> pb.StepMetrics:
    """Return a line of metrics.jsonl."""
    values = {name: math.nan if value is None else value for name, value in line["metrics"].items()}
    return pb.StepMetrics(step=line["step"], time=line["time"], metrics=values)


def trace_message(line: dict[str, Any]) -> pb.SampleTrace:
    """Return a line of traces.jsonl."""
    texts = {name: line.get(name, "") for name in ("problem", "gold", "answer", "text")}
    return pb.SampleTrace(step=line["step"], reward=line.get("reward"), **texts)


def _evaluation(figures: dict[str, Any] | None) -> pb.Evaluation | None:
    known = pb.Evaluation.DESCRIPTOR.fields_by_name
    return pb.Evaluation(**{name: value for name, value in figures.items() if name in known}) if figures else None

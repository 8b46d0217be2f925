"""The folder of a run: what the worker writes as it goes, and all that anybody else knows of the run.

Logs are JSON lines that are only ever appended to, each line by one write. A reader passes over a line that is torn,
as a killed worker may leave it. A run that goes on from a checkpoint first cuts off what came after it (`rewind`).
"""

import fcntl
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import IO, Any

from deepmath.errors import Unavailable, WrongOrder

ENDED = frozenset({"done", "stopped", "failed"})


@dataclass(frozen=True)
class RunState:
    """Where a run is. `status`: starting, running, done, stopped or failed; `updated`: unix seconds."""

    status: str = "starting"
    step: int = 0
    steps: int = 0
    policy_version: int = 0
    error: str = ""
    updated: float = 0.0
    pid: int = 0

    @property
    def ended(self) -> bool:
        """Whether the run will not go on by itself."""
        return self.status in ENDED


_FIELDS = frozenset(field.name for field in fields(RunState))


class RunFolder:
    """`runs/NAME` as paths, and its files as what they mean."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.jsonl"
        self.traces = path / "traces.jsonl"
        self.checkpoints = path / "checkpoints"
        self.adapter = path / "adapter"
        self.plots = path / "plots"
        self.tensorboard = path / "tensorboard"
        self.worker_log = path / "worker.log"
        self._state = path / "state.json"
        self._evaluation = path / "evaluation.json"

    def write_config(self, text: str) -> None:
        """Keep the whole configuration, as YAML."""
        _replace(self.config, text)

    def write_state(self, **changes: Any) -> RunState:
        """Change fields of the state, all at once for every reader, and return it. Written by one process at a time."""
        state = replace(self.read_state(), **{"updated": time.time(), **changes})
        _replace(self._state, json.dumps(asdict(state)))
        return state

    def read_state(self) -> RunState:
        """Return the state; that of a run before its start where there is none yet."""
        known = _read_object(self._state)
        return RunState(**{name: value for name, value in known.items() if name in _FIELDS})

    def append_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of an optimizer step. What is not finite is kept as null: JSON has no such number."""
        finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        _append(self.metrics, {"step": step, "time": time.time(), "metrics": finite})

    def append_trace(self, trace: Mapping[str, Any]) -> None:
        """Log a trajectory: `step`, `problem`, `gold`, `answer`, `reward`, `text`."""
        _append(self.traces, trace)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return all that `append_metrics` logged."""
        return Tail(self.metrics).read()

    def write_evaluation(self, evaluation: Mapping[str, Any]) -> None:
        """Keep the figures `before` and `after` training; what is known by now."""
        _replace(self._evaluation, json.dumps(evaluation, indent=2))

    def read_evaluation(self) -> dict[str, Any]:
        """Return what `write_evaluation` kept; nothing where nothing was evaluated yet."""
        return _read_object(self._evaluation)

    def rewind(self, step: int) -> None:
        """Cut off what the logs say of steps after `step`, and a torn last line: the run goes on from there."""
        for path in (self.metrics, self.traces):
            if path.exists():
                os.truncate(path, _end_of(path, step))

    def hold(self) -> IO[bytes]:
        """Return a lock on the run, held for as long as any process, children included, has the file open.

        Raises:
            WrongOrder: the run is held, so a worker is at it.
        """
        file = (self.path / ".lock").open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise WrongOrder(f"the run {self.name} is at work; stop it first, or take another name") from None
        return file

    def is_held(self) -> bool:
        """Whether a worker is at the run; unlike a process id, a lock is not used again."""
        try:
            self.hold().close()
        except WrongOrder:
            return True
        return False


class Tail:
    """Reads on in a log of JSON lines while it is written to."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def read(self) -> list[dict[str, Any]]:
        """Return the objects whose lines were completed since the last time."""
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(min(self._offset, size))  # shorter than it was: the run was rewound
                self._offset = file.tell()
                lines = [line for line in file if line.endswith(b"\n")]
        except FileNotFoundError:
            return []
        self._offset += sum(map(len, lines))
        return [line for line in map(_parse, lines) if line is not None]


def _append(path: Path, line: Mapping[str, Any]) -> None:
    with path.open("ab", buffering=0) as file:
        file.write(json.dumps(line, ensure_ascii=False).encode(errors="replace") + b"\n")


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        parsed = json.loads(line)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) and isinstance(parsed.get("step"), int) else None


def _end_of(path: Path, step: int) -> int:
    """Return the length of the part of the log `path` that is about steps up to `step`."""
    return sum(map(len, _lines_up_to(path, step)))


def _lines_up_to(path: Path, step: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            parsed = _parse(line)
            if not line.endswith(b"\n") or (parsed and parsed["step"] > step):
                return
            yield line


def _read_object(path: Path) -> dict[str, Any]:
    try:
        parsed = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Unavailable(f"cannot read {path}: {error}") from error
    return parsed if isinstance(parsed, dict) else {}


def _replace(path: Path, text: str) -> None:
    """Write `path` so that a reader, or a machine that loses power, sees the old content or the new."""
    new = path.with_name(f".{path.name}.new")
    with new.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)

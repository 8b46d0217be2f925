"""The folder of a run: all that its worker writes, and the only place from which others know the run."""

import fcntl
import json
import math
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from deepmath.errors import InvalidRequest, Unavailable, WrongOrder
from deepmath_trainer.run_log import RunLogReader, append, truncate_after
from deepmath_trainer.run_state import RunState

STARTED_FILES = frozenset({".lock", "config.yaml", ".config.yaml.new", ".state.json.new"})
"""Files that the folder of a run may contain before it has a state, by which it is known."""


class RunFolder:
    """`runs/NAME`: its paths, and access to its files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.jsonl"
        self.traces = path / "traces.jsonl"
        self.checkpoints = path / "checkpoints"
        self.policies = path / "policies"
        self.adapter = path / "adapter"
        self.plots = path / "plots"
        self.tensorboard = path / "tensorboard"
        self.worker_log = path / "worker.log"
        self._state = path / "state.json"
        self._evaluation = path / "evaluation.json"
        self._data = path / "data.json"
        self._sources = path / "sources.json"

    def write_config(self, text: str) -> None:
        """Write the complete configuration, as YAML."""
        _replace(self.config, text)

    def write_state(self, **changes: Any) -> RunState:
        """Change fields of the state atomically and return it. Only one process at a time may write."""
        state = replace(self.read_state(), **{"updated": time.time(), **changes})
        _replace(self._state, json.dumps(asdict(state)))
        return state

    def read_state(self) -> RunState:
        """Return the state; the default one if none has been written."""
        return RunState.of(_read_object(self._state))

    def append_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of an optimizer step. Non-finite values become null: JSON has no such numbers."""
        finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        append(self.metrics, {"step": step, "time": time.time(), "metrics": finite})

    def append_trace(self, trace: Mapping[str, Any]) -> None:
        """Log a trajectory: `step`, `problem`, `gold`, `answer`, `reward`, `text`."""
        append(self.traces, trace)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return all lines of `append_metrics`."""
        return RunLogReader(self.metrics).read()

    def write_evaluation(self, evaluation: Mapping[str, Any]) -> None:
        """Write the evaluation figures `before` and `after` training, as far as they exist."""
        _replace(self._evaluation, json.dumps(evaluation, indent=2))

    def read_evaluation(self) -> dict[str, Any]:
        """Return the figures of `write_evaluation`; empty before the first evaluation."""
        return _read_object(self._evaluation)

    def write_data_record(self, problems: int, contaminated: Sequence[Any]) -> None:
        """Write the number of training problems, and the excluded ones: dataclasses that say why."""
        record = {"problems": problems, "contaminated": [asdict(one) for one in contaminated]}
        _replace(self._data, json.dumps(record, indent=2))

    def check_sources(self, versions: Mapping[str, str], resumed: bool) -> None:
        """Record the versions of the packages that generate the problems, or compare them if the run is resumed.

        Raises:
            InvalidRequest: a resumed run began with another version, which generates other problems.
        """
        known = _read_object(self._sources) if resumed else {}
        for package, version in versions.items():
            if known.get(package, version) != version:
                raise InvalidRequest(
                    f"the run {self.name} began with {package} {known[package]}, but {version} is installed, which may "
                    f"generate other problems; `pip install {package}=={known[package]}`, or start another run"
                )
        if versions:
            _replace(self._sources, json.dumps(dict(versions)))

    def rewind(self, step: int, complete: bool) -> None:
        """Remove all that a killed worker wrote after its last checkpoint, of `step`, from which the run resumes.

        `complete` is whether that was the last step: otherwise an evaluation after training is out of date. Journalled
        trajectories stay, to be trained on again.
        """
        for path in (self.metrics, self.traces):
            if path.exists():
                truncate_after(path, step)
        shutil.rmtree(self.policies, ignore_errors=True)
        evaluation = self.read_evaluation()
        if not complete and "after" in evaluation:
            del evaluation["after"]
            self.write_evaluation(evaluation)

    def hold(self) -> IO[bytes]:
        """Return a lock on the run, held while any process, child processes included, has the file open.

        Raises:
            WrongOrder: the lock is held, so the run has a worker.
        """
        file = (self.path / ".lock").open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise WrongOrder(f"the run {self.name} is already running; stop it first or use another name") from None
        return file

    def is_held(self) -> bool:
        """Whether the run has a worker. Unlike a process id, a lock is never reused."""
        try:
            self.hold().close()
        except WrongOrder:
            return True
        return False


def _read_object(path: Path) -> dict[str, Any]:
    try:
        parsed = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Unavailable(f"cannot read {path}: {error}") from error
    return parsed if isinstance(parsed, dict) else {}


def _replace(path: Path, text: str) -> None:
    """Write `path` so that readers, and the disk after a power failure, have either the old or the new content."""
    new = path.with_name(f".{path.name}.new")
    with new.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)

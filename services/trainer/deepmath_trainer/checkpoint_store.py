"""The checkpoints of a run on disk: staged, then moved to their place, so that each is complete or absent.

That holds at every moment at which the process is killed: a rename is atomic, and a checkpoint in its place is never
replaced or emptied there.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NAME = "checkpoint-{}"  # as transformers names them
_SAMPLER = "sampler"
_CURRICULUM = "curriculum.json"


def step_of(path: Path) -> int:
    """Return the optimizer step at the end of the name of a checkpoint or a policy."""
    return int(path.name.rpartition("-")[2])


@dataclass(frozen=True)
class TrainingCheckpoint:
    """A complete checkpoint."""

    path: Path

    @property
    def step(self) -> int:
        """The optimizer step after which it was written."""
        return step_of(self.path)

    @property
    def sampler(self) -> Path | None:
        """The policy that was sampling the next batch when it was written; None if no batch was being sampled."""
        return next((self.path / _SAMPLER).glob("step-*"), None)

    @property
    def curriculum(self) -> dict[str, Any]:
        """The state of the curriculum before the next batch; empty in a checkpoint of an earlier version."""
        file = self.path / _CURRICULUM
        state: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return state

    @property
    def first_published(self) -> int:
        """The optimizer step of the policy that a run resumed from it publishes first."""
        return step_of(self.sampler or self.path)


class CheckpointStore:
    """The folder of a run's checkpoints, of which the latest `keep` remain."""

    def __init__(self, folder: Path, keep: int = 1) -> None:
        self._folder, self._keep = folder, keep
        self.staging = folder / ".writing"
        """The folder in which transformers writes a checkpoint."""

    def all(self) -> list[TrainingCheckpoint]:
        """Return the complete checkpoints, oldest first."""
        return [TrainingCheckpoint(path) for path in sorted(self._folder.glob(_NAME.format("*")), key=step_of)]

    def latest(self) -> TrainingCheckpoint | None:
        """Return the latest complete checkpoint."""
        return next(reversed(self.all()), None)

    def discard_staged(self) -> None:
        """Delete what an interrupted or failed write left."""
        shutil.rmtree(self.staging, ignore_errors=True)

    def stage_sampler(self, step: int, policy: Path) -> None:
        """Add the policy that samples the next batch to the staged checkpoint of `step`."""
        shutil.copytree(policy, self._staged(step) / _SAMPLER / policy.name)

    def stage_curriculum(self, step: int, state: Mapping[str, Any]) -> None:
        """Add the state of the curriculum to the staged checkpoint of `step`."""
        (self._staged(step) / _CURRICULUM).write_text(json.dumps(state))

    def commit(self, step: int) -> None:
        """Move the staged checkpoint of `step` to its place and delete the oldest ones.

        A checkpoint that is there already stays: the same step of a run has the same state.
        """
        staged = self._staged(step)
        place = self._folder / staged.name
        if not place.exists():
            _flush(staged)
            staged.rename(place)
        self.tidy()

    def tidy(self) -> None:
        """Delete all checkpoints but the latest `keep`, and what an interrupted write or deletion left."""
        for old in self.all()[: -self._keep]:
            self.staging.mkdir(exist_ok=True)
            old.path.rename(self.staging / f"old-{old.path.name}")
        self.discard_staged()

    def _staged(self, step: int) -> Path:
        return self.staging / _NAME.format(step)


def _flush(folder: Path) -> None:
    """Write the files below `folder` to the disk, so that a checkpoint outlives a power failure as well."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())

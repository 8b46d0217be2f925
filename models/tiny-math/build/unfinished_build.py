"""A build that is not finished: its checkpoint, and the folder of the model once that is trained."""

import fcntl
import os
import pickle
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import torch

from deepmath.errors import InvalidRequest, WrongOrder


class UnfinishedBuild:
    """A locked folder of one build. A context manager that unlocks it.

    Raises:
        WrongOrder: another process builds in the folder.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.model = folder, folder / "model"
        self.checkpoint, self._partial = folder / "checkpoint.pt", folder / "checkpoint.writing"
        self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise WrongOrder(f"another build runs in {folder}; wait for it, or choose another --work") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def load(self, facts: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the checkpoint's state, or None if there is none.

        Raises:
            InvalidRequest: it belongs to a build with other facts, or is unreadable.
        """
        if not self.checkpoint.exists():
            return None
        try:
            saved = torch.load(self.checkpoint, weights_only=True)
            state, theirs = dict(saved["state"]), dict(saved["facts"])
        except (OSError, RuntimeError, ValueError, EOFError, KeyError, TypeError, pickle.UnpicklingError):
            raise InvalidRequest(f"{self.checkpoint} is damaged or not a checkpoint; {self._start_again}") from None
        self._check(theirs, facts)
        return state

    def save(self, state: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Replace the checkpoint atomically."""
        with self._partial.open("wb") as file:
            torch.save({"state": dict(state), "facts": dict(facts)}, file)
            file.flush()
            os.fsync(file.fileno())
        self._partial.replace(self.checkpoint)

    def remove(self) -> None:
        """Remove model and checkpoint, and the folder if nothing else is in it.

        The checkpoint goes last and the model in one step: killed on the way, it leaves a build that can be continued.
        """
        removed = self.folder / "removed"
        shutil.rmtree(removed, ignore_errors=True)
        if self.model.exists():
            self.model.rename(removed)
            shutil.rmtree(removed)
        for file in (self._partial, self.checkpoint):
            file.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    @property
    def _start_again(self) -> str:
        return f"delete {self.folder} to start again"

    def _check(self, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
        differences = [
            f"{name} is {theirs[name]} there and {ours[name]} here"
            for name in ours
            if name in theirs and theirs[name] != ours[name]
        ]
        if differences:
            raise InvalidRequest(
                f"{self.folder} holds an unfinished build with other settings: {'; '.join(differences)}. "
                f"Continue it with its own settings, or {self._start_again}"
            )

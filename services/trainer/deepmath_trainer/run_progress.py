"""The progress of a run as its worker reports it: its status, and what it waits for."""

import threading
from typing import Any

from deepmath_trainer.run_folder import RunFolder


class RunProgress:
    """Writes the state in `folder`, from any thread. Of several processes only the first one, `rank` 0, does."""

    def __init__(self, folder: RunFolder, rank: int) -> None:
        self._folder, self._rank = folder, rank
        self._status = "starting"
        self._waiting_for = ""
        self._lock = threading.Lock()

    def write(self, **changes: Any) -> None:
        """Change fields of the state."""
        if self._rank == 0:
            with self._lock:
                self._folder.write_state(**changes)

    def enter(self, status: str) -> None:
        """Change the status. A run that still waits shows this status afterwards, unless it has ended."""
        with self._lock:
            self._status = status
            if self._rank == 0 and (status in ("done", "stopped") or not self._waiting_for):
                self._folder.write_state(status=status, waiting_for="")

    def wait_for(self, reason: str) -> None:
        """Report that the run waits, or continues if `reason` is empty. A wait has the time of its start."""
        with self._lock:
            if self._status in ("done", "stopped"):
                return  # a batch that is still being sampled does not change that
            changed = bool(reason) != bool(self._waiting_for)
            self._waiting_for = reason
            if self._rank == 0:
                time = {} if changed else {"updated": self._folder.read_state().updated}
                self._folder.write_state(status="waiting" if reason else self._status, waiting_for=reason, **time)

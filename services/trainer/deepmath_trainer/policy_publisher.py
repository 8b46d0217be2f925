"""Writes the policies of a run and decides when the generators get one."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deepmath_trainer.checkpoint_store import step_of
from deepmath_trainer.write_failure import explain_write_failure


@dataclass(frozen=True)
class PolicyWriter:
    """Writing of the current policy by all processes of a run together."""

    write: Callable[[Path], None]
    """Writes it to a folder; called by all processes."""
    synchronize: Callable[[], None]
    """Waits for all processes."""
    is_main_process: bool


class PolicyPublisher:
    """The policies below `folder`, written every `every` optimizer steps."""

    def __init__(self, folder: Path, every: int, writer: PolicyWriter) -> None:
        self._folder, self._every, self._writer = folder, every, writer
        self._published: int | None = None  # optimizer step of the policy published last
        self._previous: Path | None = None  # a replica that was unreachable may still need it

    @property
    def current(self) -> Path:
        """The folder of the policy published last."""
        return self._path(self._published)

    def restore(self, sampler: Path) -> Path | None:
        """Make `sampler`, from a checkpoint, the policy published last; return what the generators need, as `next`."""
        self._published = step_of(sampler)
        if self._writer.is_main_process:
            shutil.copytree(sampler, self.current)
        self._writer.synchronize()
        return self._unless_untrained()

    def next(self, step: int, last: bool = False) -> Path | None:
        """Write the policy of optimizer step `step` if it is due, as the `last` one always is.

        Returns:
            The folder that the generators need; None if it is not due, or the model as loaded.

        Raises:
            Unavailable: it could not be written.
        """
        every = 1 if last else self._every
        if self._published is not None and step - self._published < every:
            return None
        with explain_write_failure(f"the policy of step {step}"):
            self._writer.write(self._path(step))
        self._writer.synchronize()  # the main process writes it, all publish it
        older, self._previous = self._previous, None if self._published is None else self.current
        self._published = step
        if older and self._writer.is_main_process:
            shutil.rmtree(older, ignore_errors=True)
        return self._unless_untrained()

    def _path(self, step: int | None) -> Path:
        return self._folder / f"step-{step}"

    def _unless_untrained(self) -> Path | None:
        return self.current if self._published else None

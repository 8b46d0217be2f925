"""Values read from files that may be replaced while a service runs."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from deepmath.errors import DeepMathError

log = logging.getLogger(__name__)

Value = TypeVar("Value")

_POLL_SECONDS = 1.0
_MAX_INITIAL_READS = 5

_Stamps = list[tuple[int, int, int] | None]


class FileWatcher(Generic[Value]):
    """The result of `read` for the files `paths`, read again after one of them has changed. Thread-safe.

    Links are followed, to detect the update of a Kubernetes volume, which swaps a link to a folder. If `read` rejects
    the changed files, that is logged once and retried every second: the cause may lie outside them (a mode, too many
    open files). The previously loaded value stays in use.

    Raises:
        DeepMathError: `read` rejects the initial files.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], Value]) -> None:
        self._paths, self._read = paths, read
        self._lock = threading.Lock()
        self._warned: tuple[_Stamps, str] | None = None
        for _ in range(_MAX_INITIAL_READS):
            self._loaded = self._stamps()
            self._value = read()
            if self._stamps() == self._loaded:
                break
        self._next_poll = time.monotonic() + _POLL_SECONDS

    @property
    def value(self) -> Value:
        """The value, at most a second older than the files. The same object until they change."""
        with self._lock:
            if time.monotonic() >= self._next_poll:
                self._poll()
                self._next_poll = time.monotonic() + _POLL_SECONDS
            return self._value

    def _poll(self) -> None:
        stamps = self._stamps()
        if stamps == self._loaded:
            return
        try:
            value, rejection = self._read(), None
        except DeepMathError as error:
            rejection = error
        if self._stamps() != stamps:  # changed meanwhile: the value may mix old and new files
            return
        if rejection is None:
            self._loaded, self._value = stamps, value
            log.info("reloaded %s", ", ".join(map(str, self._paths)))
        elif self._warned != (stamps, str(rejection)):
            self._warned = (stamps, str(rejection))
            log.warning("%s; keeping the previously loaded version", rejection)

    def _stamps(self) -> _Stamps:
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns, state.st_size

"""What is read from files that somebody may replace while a service runs."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from deepmath.errors import DeepMathError

log = logging.getLogger(__name__)

Value = TypeVar("Value")

_LOOK_SECONDS = 1.0
_FIRST_ATTEMPTS = 5

_Stamps = list[tuple[int, int, int] | None]


class FileWatcher(Generic[Value]):
    """What `read` makes of the files `paths`, made again when one of them has changed. For use by any thread.

    Links are followed, so that it sees a Kubernetes volume change, which swaps a link to a folder. Files that `read`
    refuses after a change are told of in one warning and tried again every second, for what was wrong may be no part of
    them (a mode, too many open files); the value before them is kept.

    Raises:
        DeepMathError: `read` refuses the files as they are to begin with.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], Value]) -> None:
        self._paths, self._read = paths, read
        self._lock = threading.Lock()
        self._told: tuple[_Stamps, str] | None = None
        for _ in range(_FIRST_ATTEMPTS):
            self._seen = self._stamps()
            self._value = read()
            if self._stamps() == self._seen:
                break
        self._next_look = time.monotonic() + _LOOK_SECONDS

    @property
    def value(self) -> Value:
        """The value, at most a second behind the files. The same object for as long as they do not change."""
        with self._lock:
            if time.monotonic() >= self._next_look:
                self._look()
                self._next_look = time.monotonic() + _LOOK_SECONDS
            return self._value

    def _look(self) -> None:
        stamps = self._stamps()
        if stamps == self._seen:
            return
        try:
            value, refusal = self._read(), None
        except DeepMathError as error:
            refusal = error
        if self._stamps() != stamps:  # in the midst of the change: what was read may be half old, half new
            return
        if refusal is None:
            self._seen, self._value = stamps, value
            log.info("took up the change of %s", ", ".join(map(str, self._paths)))
        elif self._told != (stamps, str(refusal)):
            self._told = (stamps, str(refusal))
            log.warning("%s; what was there before is used on", refusal)

    def _stamps(self) -> _Stamps:
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns, state.st_size

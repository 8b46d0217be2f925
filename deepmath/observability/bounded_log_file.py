"""A log file of bounded size: when it is full, it becomes `NAME.1`, in place of the previous one."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from deepmath.observability.line_writer import LineWriter

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


class BoundedLogFile:
    """Appends lines to `path` by a `LineWriter`: writing never waits for the disk, except when the file is full.

    Together with its predecessor it takes at most twice `max_bytes`. A single writer may have it open. `gap`
    returns the line that reports so many lost lines.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path, max_bytes: int, gap: Callable[[int], bytes]) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._descriptor = os.open(path, _FLAGS, 0o666)
        self._size = os.fstat(self._descriptor).st_size
        self._writer = LineWriter(self._descriptor, gap)

    def write(self, line: bytes) -> None:
        """Queue `line`, which ends with a line feed."""
        if self._size and self._size + len(line) > self._max_bytes:
            self._start_over()
        self._size += len(line)
        self._writer.write(line)

    def flush(self, seconds: float) -> bool:
        """Wait until what is queued is written or lost, at most so many seconds; return whether that is so."""
        return self._writer.flush(seconds)

    def close(self) -> None:
        """Write what is queued, for at most a second."""
        self._writer.close()

    def _start_over(self) -> None:
        self._writer.flush()
        self._size = 0
        try:
            self._path.replace(f"{self._path}.1")
            new = os.open(self._path, _FLAGS, 0o666)
        except OSError:  # such as in a folder that has become read-only; the bound holds nevertheless
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            return
        os.dup2(new, self._descriptor, inheritable=False)
        os.close(new)

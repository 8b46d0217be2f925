"""A clock that runs while something is at work."""

import time
from typing import Self


class BusyClock:
    """Counts the seconds in which at least one `with` block is open. For use by one thread; any may read it."""

    def __init__(self) -> None:
        self._open = 0
        self._since = 0.0
        self._seconds = 0.0

    def __enter__(self) -> Self:
        if not self._open:
            self._since = time.monotonic()
        self._open += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._open -= 1
        if not self._open:
            self._seconds += time.monotonic() - self._since

    @property
    def seconds(self) -> float:
        """Busy time so far, in seconds."""
        return self._seconds + (time.monotonic() - self._since if self._open else 0.0)

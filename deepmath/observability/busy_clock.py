"""How much of the time something was at work."""

import time
from typing import Self


class BusyClock:
    """Counts the seconds in which at least one `with` block was open. For use by one thread; read by any."""

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
        """Seconds until now."""
        return self._seconds + (time.monotonic() - self._since if self._open else 0.0)

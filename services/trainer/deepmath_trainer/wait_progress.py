"""Progress of a wait: logged at growing intervals, reported to a listener, and ended when patience is over."""

import logging
import time
from collections.abc import Callable

from deepmath.errors import DeepMathError, Unavailable

log = logging.getLogger(__name__)

_FIRST_INTERVAL_S, _LONGEST_INTERVAL_S = 5.0, 60.0
_LONGEST_REASON = 400  # characters


class WaitProgress:
    """One wait of at most `patience_s` seconds for a generator.

    `on_change` receives the reason whenever it changes, and an empty string at the end.
    """

    def __init__(self, patience_s: float, on_change: Callable[[str], None]) -> None:
        self._patience_s, self._on_change = patience_s, on_change
        self._started = time.monotonic()
        self._reason = ""
        self._interval = _FIRST_INTERVAL_S
        self._next_line = self._started

    def report(self, error: DeepMathError) -> None:
        """Report why the wait goes on.

        Raises:
            Unavailable: it has taken longer than `patience_s`.
        """
        now = time.monotonic()
        waited, reason = now - self._started, str(error)[:_LONGEST_REASON]
        if waited > self._patience_s:
            raise Unavailable(f"no generator was available for {self._patience_s:.0f} s: {reason}")
        if reason != self._reason:
            self._reason = reason
            self._on_change(reason)
        if now >= self._next_line:
            log.warning("waiting for a generator (%.0f of %.0f s): %s", waited, self._patience_s, reason)
            self._next_line = now + self._interval
            self._interval = min(2 * self._interval, _LONGEST_INTERVAL_S)

    def end(self) -> None:
        """Report the end of the wait, if there was one."""
        if self._reason:
            log.warning("a generator is ready after %.0f s", time.monotonic() - self._started)
            self._reason = ""
            self._on_change("")

"""How often each caller may start something."""

from typing import Generic, TypeVar

Caller = TypeVar("Caller")


class RateLimit(Generic[Caller]):
    """A token bucket for each caller: `per_second` on average, `burst` at once; no limit where `per_second` is 0.

    Kept as the virtual scheduling algorithm of ITU-T I.371 (GCRA) has it: one time for each caller, at which its bucket
    is full again. A time that has passed says nothing and is dropped. Times are in seconds.
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self._interval = 1 / per_second if per_second else 0.0
        self._tolerance = (burst - 1) * self._interval
        self._full_at: dict[Caller, float] = {}

    def delay(self, caller: Caller, now: float) -> float:
        """Return in how many seconds `caller` may start its next."""
        return max(0.0, self._full_at.get(caller, now) - now - self._tolerance)

    def take(self, caller: Caller, now: float) -> float:
        """Count one more, and return in how many seconds it may start."""
        delay = self.delay(caller, now)
        if self._interval:
            self._forget_full(now)
            self._full_at[caller] = max(now, self._full_at.pop(caller, now)) + self._interval
        return delay

    def give_back(self, caller: Caller) -> None:
        """Count one less: it was never started."""
        if caller in self._full_at:
            self._full_at[caller] -= self._interval

    def _forget_full(self, now: float) -> None:
        while self._full_at and self._full_at[oldest := next(iter(self._full_at))] <= now:
            del self._full_at[oldest]

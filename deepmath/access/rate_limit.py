"""A token-bucket rate limit with one bucket per caller."""

from typing import Generic, TypeVar

Caller = TypeVar("Caller")


class RateLimit(Generic[Caller]):
    """Admits `per_second` starts on average and `burst` at once for each caller; 0 per second means no limit.

    Implemented as the virtual scheduling algorithm of ITU-T I.371 (GCRA): one number per caller, the time at which its
    bucket is full again. Callers with a full bucket are forgotten. Times are in seconds.
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self._interval = 1 / per_second if per_second else 0.0
        self._tolerance = (burst - 1) * self._interval
        self._full_at: dict[Caller, float] = {}

    def delay(self, caller: Caller, now: float) -> float:
        """Return the time until `caller` may start again."""
        return max(0.0, self._full_at.get(caller, now) - now - self._tolerance)

    def take(self, caller: Caller, now: float) -> float:
        """Take a token, which may put the bucket into debt, and return the time until the start is due."""
        delay = self.delay(caller, now)
        if self._interval:
            self._forget_full(now)
            self._full_at[caller] = max(now, self._full_at.pop(caller, now)) + self._interval
        return delay

    def give_back(self, caller: Caller) -> None:
        """Return the token of a start that did not take place."""
        if caller in self._full_at:
            self._full_at[caller] -= self._interval

    def _forget_full(self, now: float) -> None:
        while self._full_at and self._full_at[oldest := next(iter(self._full_at))] <= now:
            del self._full_at[oldest]

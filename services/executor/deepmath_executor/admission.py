"""Admission: limits on open streams and sessions, on clients' rates, and the drain at shutdown."""

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from deepmath.access.rate_limit import RateLimit
from deepmath.errors import DeepMathError, Overloaded, Unavailable
from deepmath_executor.caller import Caller
from deepmath_executor.config import ExecutorConfig
from deepmath_executor.snippet_slots import SnippetSlots
from deepmath_executor.throughput_estimate import ThroughputEstimate

_DRAINING = "this executor is shutting down; open a session on another executor"
_SHORTEST_RETRY_S, _LONGEST_RETRY_S = 0.1, 10.0
_JITTER = 0.2  # clients refused together must not retry together
_REASONS = ("draining", "streams", "client_sessions", "sessions", "queue", "rate")

Message = TypeVar("Message")


class SessionAdmission:
    """Counts open streams and sessions, in total and per client, against their limits.

    An open session is never refused a snippet for lack of capacity, because that would lose its variables. The queue is
    bounded all the same: a session has at most one snippet in it, and no session opens while the queue is full.
    """

    def __init__(self, config: ExecutorConfig) -> None:
        self._config = config
        self.slots = SnippetSlots(config.max_running_snippets, config.max_running_per_client)
        self._rate: RateLimit[Caller] = RateLimit(config.snippets_per_second_per_client, config.burst)
        self._sessions: Counter[Caller] = Counter()
        self._opening = 0
        self._session_time = ThroughputEstimate(1.0)
        self._draining = False
        self._idle: set[asyncio.Task[Any]] = set()
        self.refusals = dict.fromkeys(_REASONS, 0)
        """Refused streams and sessions, by reason."""

    @property
    def sessions(self) -> int:
        """Open sessions."""
        return self._sessions.total()

    @property
    def maximum_sessions(self) -> int:
        """Maximum number of open sessions."""
        return self._config.max_sessions

    def drain(self) -> None:
        """Admit no more sessions and end idle ones; running and queued snippets finish."""
        self._draining = True
        for task in self._idle:
            task.cancel()

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Hold a place for a stream that has not opened its session yet. There are `max_sessions` such places.

        Raises:
            Overloaded: No place is free.
        """
        if self._opening >= self._config.max_sessions:
            message = f"{self._opening} streams have not opened their session yet; retry later"
            raise self._refusal("streams", Overloaded(message, _retry_ms(_SHORTEST_RETRY_S)))
        self._opening += 1
        try:
            yield
        finally:
            self._opening -= 1

    @contextmanager
    def session(self, caller: Caller) -> Iterator[None]:
        """Hold a place for a session.

        Raises:
            Overloaded: No place is free, the queue is full, or the caller is over its limits.
            Unavailable: The service is draining.
        """
        self._admit(caller)
        self._sessions[caller] += 1
        start = time.monotonic()
        try:
            yield
        finally:
            self._session_time.add(time.monotonic() - start)
            self._sessions[caller] -= 1
            if not self._sessions[caller]:
                del self._sessions[caller]

    def _admit(self, caller: Caller) -> None:
        config, own = self._config, self._sessions[caller]
        if self._draining:
            raise self._refusal("draining", Unavailable(_DRAINING))
        if own >= (config.max_sessions_per_client or math.inf):
            message = f"{caller} has {own} open sessions, its maximum; close one first"
            raise self._refusal("client_sessions", Overloaded(message, self._next_end_ms(own)))
        if self.sessions >= config.max_sessions:
            message = f"all {config.max_sessions} sessions are in use; retry later"
            raise self._refusal("sessions", Overloaded(message, self._next_end_ms(self.sessions)))
        if self.slots.queued >= config.max_queued_snippets:
            message = f"{self.slots.queued} snippets are queued; retry later"
            raise self._refusal("queue", Overloaded(message, _retry_ms(self.slots.queue_s)))
        if delay := self._rate.delay(caller, time.monotonic()):
            message = f"{caller} is over its rate limit; retry later"
            raise self._refusal("rate", Overloaded(message, math.ceil(1e3 * delay)))

    def _refusal(self, reason: str, error: DeepMathError) -> DeepMathError:
        self.refusals[reason] += 1
        return error

    def _next_end_ms(self, sessions: int) -> int:
        """Return the estimated time until the first of so many sessions ends."""
        return _retry_ms(self._session_time.mean / sessions)

    async def read_idle(self, reading: Awaitable[Message]) -> Message:
        """Return the client's next message; `drain` interrupts the wait.

        Raises:
            Unavailable: The service is draining.
        """
        task = asyncio.current_task()
        assert task is not None
        self._idle.add(task)
        if self._draining:
            task.cancel()
        try:
            return await reading
        except asyncio.CancelledError:
            if self._draining and task.uncancel() == 0:
                raise Unavailable(_DRAINING) from None
            raise
        finally:
            self._idle.discard(task)

    async def throttle(self, caller: Caller) -> None:
        """Wait until the caller's rate limit admits one more snippet."""
        if delay := self._rate.take(caller, time.monotonic()):
            try:
                await asyncio.sleep(delay)
            except asyncio.CancelledError:
                self._rate.give_back(caller)
                raise


def _retry_ms(seconds: float) -> int:
    bounded = min(max(seconds, _SHORTEST_RETRY_S), _LONGEST_RETRY_S)
    return math.ceil(1e3 * bounded * random.uniform(1, 1 + _JITTER))

"""Who may come in and who may run: sessions are refused when there is no room, snippets of those inside wait."""

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeVar

from deepmath.access.rate_limit import RateLimit
from deepmath.errors import DeepMathError, Overloaded, Unavailable
from deepmath_executor.caller import Caller
from deepmath_executor.config import ExecutorConfig
from deepmath_executor.fair_queue import FairQueue
from deepmath_executor.throughput_estimate import ThroughputEstimate

_DRAINING = "this executor is shutting down; open the session on another"
_SHORTEST_RETRY_S, _LONGEST_RETRY_S = 0.1, 10.0
_JITTER = 0.2  # those refused together shall not come back together
_REASONS = ("draining", "streams", "client_sessions", "sessions", "queue", "rate")

Message = TypeVar("Message")


class Slot:
    """The right to run a snippet, from `Gate.slot`."""

    def __init__(self, take: Callable[[], Awaitable[None]], free: Callable[[], None]) -> None:
        self._take, self._free = take, free
        self._since: float | None = None
        self.held_s = 0.0
        """How long it was held before it was given back."""

    async def take(self) -> None:
        """Queue for it."""
        await self._take()
        self._since = time.monotonic()

    def give_back(self) -> None:
        """Let another snippet have it, if it is held."""
        if self._since is not None:
            self.held_s += time.monotonic() - self._since
            self._since = None
            self._free()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[None]:
        """Be without it for a block, and then queue for it again. Whatever ends the block early is not held up."""
        self.give_back()
        yield
        await self.take()


class SessionAdmission:
    """Counts sessions and running snippets, of all callers and of each, against their maxima.

    A session that is open is never refused a snippet for want of room, because its variables would be lost with it. The
    queue is bounded all the same: a session has one snippet in it at most, and none is opened while the queue is full.
    """

    def __init__(self, config: ExecutorConfig) -> None:
        self._config = config
        self._queue: FairQueue[Caller, asyncio.Event] = FairQueue(
            config.max_running_snippets, config.max_running_per_client
        )
        self._rate: RateLimit[Caller] = RateLimit(config.snippets_per_second_per_client, config.burst)
        self._sessions: Counter[Caller] = Counter()
        self._opening = 0
        self.refusals = dict.fromkeys(_REASONS, 0)
        self._run_time, self._session_time = ThroughputEstimate(1.0), ThroughputEstimate(1.0)
        self._draining = False
        self._idle: set[asyncio.Task[Any]] = set()

    @property
    def sessions(self) -> int:
        """Sessions open."""
        return self._sessions.total()

    @property
    def running(self) -> int:
        """Snippets that run."""
        return self._queue.running

    @property
    def queued(self) -> int:
        """Snippets that wait for a slot."""
        return self._queue.queued

    def drain(self) -> None:
        """Admit no further session and end those that wait for their client; snippets that run or queue go on."""
        self._draining = True
        for task in self._idle:
            task.cancel()

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Hold a place for a stream that has yet to open its session. There are as many as places for sessions.

        Raises:
            Overloaded: there is none.
        """
        if self._opening >= self._config.max_sessions:
            message = f"{self._opening} streams have yet to open their session"
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
            Overloaded: there is none, the queue is full, or the caller has or does too much.
            Unavailable: the service is draining.
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
            message = f"{caller} has {own} sessions open and may have no more: end one"
            raise self._refusal("client_sessions", Overloaded(message, self._next_end_ms(own)))
        if self.sessions >= config.max_sessions:
            message = f"all {config.max_sessions} sessions are taken; come again later"
            raise self._refusal("sessions", Overloaded(message, self._next_end_ms(self.sessions)))
        if self.queued >= config.max_queued_snippets:
            message = f"{self.queued} snippets are in the queue; come again later"
            retry_ms = _retry_ms(self.queued * self._run_time.mean / config.max_running_snippets)
            raise self._refusal("queue", Overloaded(message, retry_ms))
        if delay := self._rate.delay(caller, time.monotonic()):
            message = f"{caller} starts too many snippets; come again later"
            raise self._refusal("rate", Overloaded(message, math.ceil(1e3 * delay)))

    def _refusal(self, reason: str, error: DeepMathError) -> DeepMathError:
        self.refusals[reason] += 1
        return error

    def _next_end_ms(self, sessions: int) -> int:
        """Return when the first of so many sessions may have ended."""
        return _retry_ms(self._session_time.mean / sessions)

    async def idle(self, reading: Awaitable[Message]) -> Message:
        """Wait for the client's next message.

        Raises:
            Unavailable: the service is draining.
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

    @asynccontextmanager
    async def slot(self, caller: Caller) -> AsyncIterator[Slot]:
        """Queue for the right to run a snippet and hold it."""
        slot = Slot(partial(self._take_slot, caller), partial(self._free_slot, caller))
        await slot.take()
        try:
            yield slot
        finally:
            slot.give_back()
            self._run_time.add(slot.held_s)

    async def _take_slot(self, caller: Caller) -> None:
        turn = asyncio.Event()
        self._queue.push(caller, turn)
        self._give_turns()
        try:
            await turn.wait()
        except asyncio.CancelledError:
            if turn.is_set():
                self._free_slot(caller)
            else:
                self._queue.withdraw(caller, turn)
            raise

    async def keep_to_rate(self, caller: Caller) -> None:
        """Wait until the caller's rate allows for a snippet."""
        if delay := self._rate.take(caller, time.monotonic()):
            try:
                await asyncio.sleep(delay)
            except asyncio.CancelledError:
                self._rate.give_back(caller)
                raise

    def _free_slot(self, caller: Caller) -> None:
        self._queue.finish(caller)
        self._give_turns()

    def _give_turns(self) -> None:
        while turn := self._queue.pop():
            turn.set()


def _retry_ms(seconds: float) -> int:
    within = min(max(seconds, _SHORTEST_RETRY_S), _LONGEST_RETRY_S)
    return math.ceil(1e3 * within * random.uniform(1, 1 + _JITTER))

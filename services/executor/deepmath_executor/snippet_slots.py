"""Slots for running snippets: at most so many run at once, and free slots go to callers in turn."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deepmath_executor.caller import Caller
from deepmath_executor.fair_queue import FairQueue
from deepmath_executor.throughput_estimate import ThroughputEstimate


class SnippetSlots:
    """Queues snippets for `slots` slots, with at most `per_caller` of them for one caller (0: no per-caller limit)."""

    def __init__(self, slots: int, per_caller: int) -> None:
        self._queue: FairQueue[Caller, asyncio.Event] = FairQueue(slots, per_caller)
        self._held = ThroughputEstimate(1.0)

    @property
    def running(self) -> int:
        """Slots in use."""
        return self._queue.running

    @property
    def total(self) -> int:
        """Snippets that may run at once."""
        return self._queue.slots

    @property
    def queued(self) -> int:
        """Snippets waiting for a slot."""
        return self._queue.queued

    @property
    def queue_s(self) -> float:
        """Estimated seconds until the queue is empty."""
        return self._queue.queued * self._held.mean / self._queue.slots

    @asynccontextmanager
    async def hold(self, caller: Caller) -> AsyncIterator["SnippetSlot"]:
        """Wait for a slot and hold it for the block."""
        slot = SnippetSlot(self, caller)
        await slot.acquire()
        try:
            yield slot
        finally:
            slot.release()
            self._held.add(slot.held_s)

    async def acquire(self, caller: Caller) -> None:
        """Wait for a slot. Prefer `hold`."""
        turn = asyncio.Event()
        self._queue.push(caller, turn)
        self._assign()
        try:
            await turn.wait()
        except asyncio.CancelledError:
            if turn.is_set():
                self.release(caller)
            else:
                self._queue.withdraw(caller, turn)
            raise

    def release(self, caller: Caller) -> None:
        """Free a slot of the caller."""
        self._queue.finish(caller)
        self._assign()

    def _assign(self) -> None:
        while turn := self._queue.pop():
            turn.set()


class SnippetSlot:
    """One snippet's slot, which it may release for a while."""

    def __init__(self, slots: SnippetSlots, caller: Caller) -> None:
        self._slots = slots
        self._caller = caller
        self._acquired_at: float | None = None
        self.held_s = 0.0
        """Seconds for which the slot was held."""

    async def acquire(self) -> None:
        """Wait for the slot."""
        await self._slots.acquire(self._caller)
        self._acquired_at = time.monotonic()

    def release(self) -> None:
        """Free the slot if it is held."""
        if self._acquired_at is not None:
            self.held_s += time.monotonic() - self._acquired_at
            self._acquired_at = None
            self._slots.release(self._caller)

    @asynccontextmanager
    async def released(self) -> AsyncIterator[None]:
        """Release the slot for a block and acquire it again after. An exception from the block propagates at once."""
        self.release()
        yield
        await self.acquire()

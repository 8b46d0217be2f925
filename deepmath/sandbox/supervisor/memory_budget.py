"""Budget of the memory of all sandboxes: running snippets get what they were promised, idle sandboxes share the rest.

Theory of operation
-------------------
A snippet allocates gigabytes in a second, faster than a watch can react. So the memory that running snippets may still
take is set aside before they start: for each of `slots` snippets its whole limit, plus all that it could copy of the
memory inherited from the zygote. What remains, after the supervisor, the zygotes and the kernel's memory for them
(measured, `others`), is for sandboxes between snippets. Whenever these commit more, some are evicted. Writable mappings
count as committed even before they are touched, because an idle process could touch them at once.

Sandboxes are evicted in this order: idle ones before those that wait for a host call; those of the owner that holds the
most in all, so that many sessions of one client do not drive out a larger one of another; the largest; of about equal
ones, the one idle for longest. Small ones, which hold no more than 64 MiB and an equal share of the room, are spared:
evicting them frees little, and nobody can clear them away.

A snippet with more than the default limit waits until its limit is free beside the other slots' shares. To make room
it evicts only idle sandboxes that hold more than an equal share.

The measurement of everything together corrects the sum: whatever no sandbox is charged for counts as `others`. If it
still comes near the limit at which the kernel kills, the largest running sandbox is evicted too.
"""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from deepmath.sandbox.isolation.memory_gauge import MemoryGauge
from deepmath.sandbox.limits import Limits

log = logging.getLogger(__name__)

_USABLE = 0.95  # of the limit at which the kernel kills
_DANGER = 0.97
_MOST_SET_ASIDE = 0.75  # of what is available
_ABOUT_EQUAL_BYTES = _WORTHWHILE_BYTES = 16 << 20
_SMALL_BYTES = 64 << 20  # several times what a session with the maths libraries comes to hold
_SERVICE_BYTES = 256 << 20  # supervisor, zygote, waiting sandboxes: 150 MiB with the maths libraries, and buffers


class MemoryHolder(Protocol):
    """A sandbox as the budget sees it.

    Attributes:
        started: Whether it has run a snippet.
        is_paused: Whether its snippet waits for a host call.
        held_bytes: Memory that it does not share with its zygote.
        committed_bytes: Memory that it holds or could hold without new mappings.
        inherited_bytes: Memory shared with its zygote, which it could copy.
        last_used: Number of its last snippet, among those of all sandboxes.
        owner: Client that it belongs to; None if all sandboxes are the same client's.
    """

    started: bool
    owner: Hashable
    last_used: int
    held_bytes: int
    committed_bytes: int
    inherited_bytes: int

    @property
    def alive(self) -> bool: ...
    @property
    def is_paused(self) -> bool: ...
    def measure_memory(self) -> None: ...
    def evict(self) -> None: ...


class MemoryBudget:
    """Decides which snippets may start and which sandboxes are evicted for their memory.

    Args:
        total_bytes: Memory of all sandboxes together; 0: 90 % of what this process and its children may use.
        gauge: Measures the use of everything together; None if the kernel limits each sandbox by itself.
        slots: Number of snippets that run at once, for which memory is set aside; 0: one for each core.
        snippet_bytes: Memory limit of each of them; 0: the default limit.

    Attributes:
        evictions: Sandboxes evicted so far.
    """

    def __init__(
        self,
        total_bytes: int = 0,
        gauge: MemoryGauge | None = None,
        slots: int = 0,
        snippet_bytes: int = 0,
    ) -> None:
        self.total_bytes = total_bytes or MemoryGauge.of_this_process().limit_bytes * 9 // 10
        self.gauge = gauge
        self.slots = slots or len(os.sched_getaffinity(0))
        self._snippet_bytes = snippet_bytes or Limits().memory_bytes
        self._sandboxes: set[MemoryHolder] = set()
        self._running: dict[MemoryHolder, int] = {}  # with the bytes promised to each
        self._snippets = 0
        self._others = 0
        self._inherited = 0  # the most that a sandbox inherited
        self._changed = asyncio.Event()
        self.evictions = 0

    def add(self, sandbox: MemoryHolder, ended: asyncio.Future[Any]) -> None:
        """Charge for a sandbox until `ended` is done: a killed process holds its memory until it is gone."""
        self._sandboxes.add(sandbox)
        self._inherited = max(self._inherited, sandbox.inherited_bytes)
        ended.add_done_callback(lambda _: self._remove(sandbox))

    def _remove(self, sandbox: MemoryHolder) -> None:
        self._sandboxes.discard(sandbox)
        self._notify()

    def held_bytes(self) -> int:
        """Return the memory that all sandboxes hold, in bytes, when last measured."""
        return sum(sandbox.held_bytes for sandbox in self._sandboxes)

    @property
    def reserved_bytes(self) -> int:
        """Memory set aside for running snippets, at most three quarters of what is available unless promised."""
        return max(self._promised(), min(self.slots * self._share(), int(self._available() * _MOST_SET_ASIDE)))

    @property
    def idle_share(self) -> float:
        """Share of the memory for idle sandboxes that these commit, 0 to 1. Beyond it they are evicted."""
        committed = self._idle_bytes()
        return min(1.0, committed / max(committed, self._room_for_idle(), 1))

    @property
    def free_bytes(self) -> int:
        """Memory that sandboxes could use now, beside everything else, when last measured."""
        return max(0, self._available() - self.held_bytes())

    @property
    def usable_bytes(self) -> int:
        """Memory for sandboxes if nothing else used any."""
        limit = self.gauge.limit_bytes * _USABLE if self.gauge else self.total_bytes
        return min(self.total_bytes, int(limit))

    def fitting_slots(self) -> int:
        """Return how many snippets of the default limit may run at once, at least 1; idle sandboxes get the rest."""
        room = (self.usable_bytes - _SERVICE_BYTES) * _MOST_SET_ASIDE
        return max(1, min(self.slots, int(room // self._share())))

    def largest_snippet_bytes(self) -> int:
        """Return the highest memory limit that a snippet can be promised beside the other slots."""
        return self.usable_bytes - _SERVICE_BYTES - (self.slots - 1) * self._share() - self._inherited

    def _share(self) -> int:
        """Return the bytes set aside for one snippet of the default limit."""
        return self._snippet_bytes + self._inherited

    @asynccontextmanager
    async def running(self, sandbox: MemoryHolder, limit_bytes: int) -> AsyncIterator[None]:
        """Wait until a snippet with this memory limit may run in `sandbox`, and set memory aside for the block."""
        needed = limit_bytes + sandbox.inherited_bytes
        while not self._fits(sandbox, needed) and (self._running or self._dying()):
            if not self._evict_for_a_large_snippet(sandbox):
                await self._changed.wait()
        self._running[sandbox] = needed
        self._snippets += 1
        sandbox.last_used = self._snippets
        try:
            yield
        finally:
            del self._running[sandbox]
            self._evict_idle()
            self._notify()

    def _fits(self, sandbox: MemoryHolder, needed: int) -> bool:
        set_aside = self._promised() + needed + max(0, self.slots - len(self._running) - 1) * self._share()
        if set_aside <= self.slots * self._share():
            return True
        idle = sum(one.committed_bytes for one in self._idle() if one is not sandbox) + self._dying()
        return set_aside + idle <= self._available()

    def _evict_for_a_large_snippet(self, sandbox: MemoryHolder) -> bool:
        others = [one for one in self._idle() if one is not sandbox]
        equal_share = max(0, self._available() - self.slots * self._share()) / (len(others) + 1)
        found = self._next_to_evict(others, spared_bytes=equal_share)
        if found is not None:
            self._evict(found, "a snippet needs it")
        return found is not None

    def watch(self) -> None:
        """Measure, and evict what is over the budget. Call it regularly."""
        used = self._measure()
        self._evict_idle()
        if used > self._danger_bytes() and not self._dying():
            candidates = [one for one in self._sandboxes if one.alive and one.committed_bytes >= _WORTHWHILE_BYTES]
            if candidates:
                order = self._eviction_order()
                found = max(candidates, key=lambda one: (one not in self._running, *order(one)))
                self._evict(found, "all memory is in use")
        self._notify()

    def _measure(self) -> int:
        used = 0
        try:
            used = self.gauge.used_bytes() if self.gauge else 0
        except OSError as error:
            log.error("cannot measure the memory in use; only that of the sandboxes counts from now on: %s", error)
            self.gauge = None
        for sandbox in self._sandboxes:
            sandbox.measure_memory()
        held = self.held_bytes()
        if self.gauge is None:
            self._others = sum(sandbox.held_bytes for sandbox in self._sandboxes if not sandbox.started)
            return held
        self._others = max(0, used - held)
        return used

    def _danger_bytes(self) -> float:
        return self.gauge.limit_bytes * _DANGER if self.gauge else self.total_bytes

    def _evict_idle(self) -> None:
        room, idle = self._room_for_idle(), self._idle()
        while sum(sandbox.committed_bytes for sandbox in idle) > room:
            sandbox = self._next_to_evict(idle, spared_bytes=min(room / len(idle), _SMALL_BYTES))
            assert sandbox is not None  # one of them holds more than the mean
            idle.remove(sandbox)
            self._evict(sandbox, f"idle sandboxes may hold {room >> 20} MiB together")

    def _next_to_evict(self, sandboxes: Iterable[MemoryHolder], spared_bytes: float) -> MemoryHolder | None:
        """Return the one of `sandboxes` to evict first of those that hold more than `spared_bytes`, if any."""
        large = [one for one in sandboxes if one.committed_bytes > spared_bytes]
        return max(large, key=self._eviction_order(), default=None)

    def _eviction_order(self) -> Callable[[MemoryHolder], tuple[bool, int, int, int]]:
        """Return a key that is highest for the sandbox to evict first."""
        owned: Counter[Hashable] = Counter()
        for sandbox in self._sandboxes:
            if sandbox.started and sandbox.alive:
                owned[sandbox.owner] += sandbox.committed_bytes
        return lambda one: (
            not one.is_paused,
            owned[one.owner] // _ABOUT_EQUAL_BYTES,
            one.committed_bytes // _ABOUT_EQUAL_BYTES,
            -one.last_used,
        )

    def _room_for_idle(self) -> int:
        """Return the bytes that idle sandboxes may commit together."""
        return max(0, self._available() - self.reserved_bytes)

    def _idle_bytes(self) -> int:
        return sum(sandbox.committed_bytes for sandbox in self._idle())

    def _evict(self, sandbox: MemoryHolder, reason: str) -> None:
        held = sandbox.committed_bytes >> 20
        log.warning("evicted a sandbox of %d MiB: %s; its session loses its variables", held, reason)
        self.evictions += 1
        sandbox.evict()

    def _available(self) -> int:
        """Return the bytes for all sandboxes, beside the memory that is not theirs."""
        if self.gauge is None:
            return self.total_bytes - self._others
        return min(self.total_bytes, int(self.gauge.limit_bytes * _USABLE) - self._others)

    def _idle(self) -> list[MemoryHolder]:
        return [one for one in self._sandboxes if one.started and one.alive and one not in self._running]

    def _dying(self) -> int:
        return sum(sandbox.held_bytes for sandbox in self._sandboxes if not sandbox.alive)

    def _promised(self) -> int:
        return sum(self._running.values())

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

"""Which policy samples: the versions that are loaded, and the segments that still use them.

Theory of operation. One policy is current. A segment takes it when it begins and keeps it to its end, whatever becomes
current meanwhile. A policy that is neither current nor used by any segment is unloaded. Changes come one at a time, and
each goes on to its end though its caller may have left:

    adopt     a new adapter beside those that are loaded; segments in flight go on with theirs
    replace   new weights under everything: new segments are held, those in flight end, then the weights change

The weights as such are a policy too, the only one without an adapter, and always loaded.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from deepmath.errors import Overloaded, WrongOrder

_RETRY_AFTER_MS = 500


@dataclass(eq=False)
class Policy:
    """One version. `content` tells it from another of that number; `adapter` is None for the weights alone."""

    version: int
    content: str = ""
    adapter: Any | None = None  # the engine's handle
    segments: int = 0  # in flight


class PolicyVersions:
    """The versions that are loaded.

    `unload` takes one out of the engine; `most` adapters may be loaded at once; an adapter that finds no room waits
    `patience_s` seconds for it.
    """

    def __init__(self, unload: Callable[[Policy], Awaitable[None]], most: int, patience_s: float = 10.0) -> None:
        self._unload, self._most, self._patience_s = unload, most, patience_s
        self._weights = self.current = Policy(0)
        self._adapters: list[Policy] = []
        self._tasks: set[asyncio.Task[None]] = set()  # kept, or they would be collected before they end
        self._unloading: set[Policy] = set()
        self._change = asyncio.Lock()
        self._open = asyncio.Event()
        self._open.set()
        self._ended = asyncio.Event()  # a segment, or the unloading of a policy

    @property
    def versions(self) -> list[int]:
        """The versions that are loaded, in order."""
        return sorted(policy.version for policy in (self._weights, *self._adapters))

    @asynccontextmanager
    async def segment(self) -> AsyncIterator[Policy]:
        """Give the policy that a segment is to be sampled from, all of it."""
        await self._open.wait()
        policy = self.current
        policy.segments += 1
        try:
            yield policy
        finally:
            policy.segments -= 1
            self._unload_unused()
            self._ended.set()

    def is_current(self, version: int, content: str) -> bool:
        """Return whether this is the current policy already: the same version of the same content.

        Raises:
            WrongOrder: it is not, and its version is not larger than every one before.
        """
        current = self.current
        if (version, content) == (current.version, current.content):
            return True
        if version > current.version:
            return False
        with_other = ", with another content" if version == current.version else ""
        raise WrongOrder(
            f"policy_version {version} is not new: this generator is at {current.version}{with_other}; "
            "take a larger one"
        )

    async def adopt(self, policy: Policy, load: Callable[[], Awaitable[None]]) -> None:
        """Make a policy with an adapter current, once `load` has loaded it.

        Raises:
            WrongOrder: its version is not new.
            Overloaded: segments in flight use so many versions that there is no room for another.
        """

        async def change() -> None:
            await self._room()
            try:
                await load()
            except BaseException:
                self._discard(policy)
                raise
            self._adapters.append(policy)
            self.current = policy
            self._unload_unused()

        await self._one_at_a_time(policy, change)

    async def replace(self, policy: Policy, load: Callable[[], Awaitable[None]]) -> None:
        """Make a policy without an adapter current, once `load` has loaded it.

        No segment is in flight while `load` runs, and no adapter is loaded after it.

        Raises:
            WrongOrder: its version is not new.
        """

        async def change() -> None:
            self._open.clear()
            try:
                await self._until(lambda: not any(loaded.segments for loaded in (self._weights, *self._adapters)))
                await load()
                self._weights = self.current = policy
                self._unload_unused()
            finally:
                self._open.set()

        await self._one_at_a_time(policy, change)

    async def _one_at_a_time(self, policy: Policy, change: Callable[[], Awaitable[None]]) -> None:
        async def changed() -> None:
            async with self._change:
                if not self.is_current(policy.version, policy.content):
                    await change()

        await asyncio.shield(self._keep(changed()))

    async def _room(self) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                await self._until(lambda: len(self._adapters) + len(self._unloading) < self._most)
        except TimeoutError:
            raise Overloaded(
                f"segments in flight use {len(self._adapters)} adapters, and no more are loaded at once; come again "
                "when they have ended, or start the generator with a larger --max-adapters",
                _RETRY_AFTER_MS,
            ) from None

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._ended.clear()
            await self._ended.wait()

    def _unload_unused(self) -> None:
        for policy in [policy for policy in self._adapters if policy is not self.current and not policy.segments]:
            self._adapters.remove(policy)
            self._discard(policy)

    def _discard(self, policy: Policy) -> None:
        async def unload() -> None:
            try:
                await self._unload(policy)
            finally:
                self._unloading.remove(policy)
                self._ended.set()

        self._unloading.add(policy)
        self._keep(unload())

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

"""Policy versions: the loaded policies, the current one, and the running segments of each.

Theory of operation. One policy is current. A segment uses the policy that is current at its start until its end, even
if another becomes current meanwhile. A policy that is not current and has no running segment is unloaded. Updates run
one at a time, and each completes even if its caller is cancelled:

    adopt     adds an adapter beside those that are loaded; running segments keep theirs
    replace   changes the weights under everything: new segments wait, running ones end, then the weights change

The base weights are a policy too: the only one without an adapter, and always loaded.
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
    """One policy version. `content`, a checksum or path, identifies it; `adapter` is None for the base weights."""

    version: int
    content: str = ""
    adapter: Any | None = None  # the engine's handle
    segments: int = 0  # running


class PolicyVersions:
    """The loaded policies.

    Args:
        unload: Unloads a policy from the engine.
        max_adapters: Maximum number of adapters loaded at once.
        patience_s: Timeout for a new adapter that waits for another to be unloaded, in seconds.
    """

    def __init__(
        self, unload: Callable[[Policy], Awaitable[None]], max_adapters: int, patience_s: float = 10.0
    ) -> None:
        self._unload, self._max_adapters, self._patience_s = unload, max_adapters, patience_s
        self._weights = self.current = Policy(0)
        self._adapters: list[Policy] = []
        self._tasks: set[asyncio.Task[None]] = set()  # asyncio itself keeps weak references only
        self._unloading: set[Policy] = set()
        self._update = asyncio.Lock()
        self._open = asyncio.Event()  # new segments may start
        self._open.set()
        self._released = asyncio.Event()  # a segment has ended, or a policy has been unloaded

    @property
    def versions(self) -> list[int]:
        """The loaded versions in ascending order."""
        return sorted(policy.version for policy in (self._weights, *self._adapters))

    @asynccontextmanager
    async def segment(self) -> AsyncIterator[Policy]:
        """Yield the policy for one segment, and keep it loaded for the block."""
        await self._open.wait()
        policy = self.current
        policy.segments += 1
        try:
            yield policy
        finally:
            policy.segments -= 1
            self._unload_unused()
            self._released.set()

    def is_current(self, version: int, content: str) -> bool:
        """Return whether the current policy has this version and content; False if `version` is newer.

        Raises:
            WrongOrder: `version` is older, or the same with different content.
        """
        current = self.current
        if (version, content) == (current.version, current.content):
            return True
        if version > current.version:
            return False
        difference = ", with different content" if version == current.version else ""
        raise WrongOrder(
            f"policy_version {version} is not new: this generator is at {current.version}{difference}; use a larger one"
        )

    async def adopt(self, policy: Policy, load: Callable[[], Awaitable[None]]) -> None:
        """Load a policy with an adapter by calling `load`, and make it current.

        Raises:
            WrongOrder: Its version is not new.
            Overloaded: Running segments use the maximum number of adapters.
        """

        async def update() -> None:
            await self._wait_for_room()
            try:
                await load()
            except BaseException:
                self._start_unloading(policy)
                raise
            self._adapters.append(policy)
            self.current = policy
            self._unload_unused()

        await self._run_update(policy, update)

    async def replace(self, policy: Policy, load: Callable[[], Awaitable[None]]) -> None:
        """Load a policy without an adapter by calling `load`, and make it current.

        No segment runs during `load`, and no adapter is loaded afterwards.

        Raises:
            WrongOrder: Its version is not new.
        """

        async def update() -> None:
            self._open.clear()
            try:
                await self._wait_until(lambda: not any(loaded.segments for loaded in (self._weights, *self._adapters)))
                await load()
                self._weights = self.current = policy
                self._unload_unused()
            finally:
                self._open.set()

        await self._run_update(policy, update)

    async def _run_update(self, policy: Policy, update: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            async with self._update:
                if not self.is_current(policy.version, policy.content):
                    await update()

        await asyncio.shield(self._create_task(run()))

    async def _wait_for_room(self) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                await self._wait_until(lambda: len(self._adapters) + len(self._unloading) < self._max_adapters)
        except TimeoutError:
            raise Overloaded(
                f"running segments use {len(self._adapters)} adapters, the maximum; retry when they have ended, or "
                "start the generator with a larger --max-adapters",
                _RETRY_AFTER_MS,
            ) from None

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._released.clear()
            await self._released.wait()

    def _unload_unused(self) -> None:
        for policy in [policy for policy in self._adapters if policy is not self.current and not policy.segments]:
            self._adapters.remove(policy)
            self._start_unloading(policy)

    def _start_unloading(self, policy: Policy) -> None:
        async def unload() -> None:
            try:
                await self._unload(policy)
            finally:
                self._unloading.remove(policy)
                self._released.set()

        self._unloading.add(policy)
        self._create_task(unload())

    def _create_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

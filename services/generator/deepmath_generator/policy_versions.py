"""Policy versions: the loaded policies, the current one, and the running segments of each.

Theory of operation. A policy belongs to a run and has a version, which only grows within its run. Runs are independent:
they may follow one another, or share the engine. One policy is current, the one that was loaded last, whatever its run.
A segment uses the policy that is current at its start, or the one that its call holds, until its end, even if another
becomes current meanwhile. A policy without a running segment is unloaded once its run has a newer one, or when another
run needs its place; it can be sent again. Updates run one at a time and complete even if their caller is cancelled:

    adopt     adds an adapter beside those that are loaded; running segments keep theirs
    replace   changes the weights under everything: new segments wait, running ones end, then the weights change

The base weights are a policy too: the only one without an adapter, and always loaded. They are version 0 of every run
until `replace` changes them. Then all other runs have lost theirs, and are rejected: none may train on another's
weights, nor take them back from a run that is in progress.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from deepmath.errors import Overloaded, WrongOrder

_RETRY_AFTER_MS = 500
_MOST_RUNS = 64  # remembered; the one that was used longest ago is forgotten


@dataclass(eq=False)
class Policy:
    """One policy version. `content`, a checksum or path, identifies it; `adapter` is None for the base weights."""

    version: int
    content: str = ""
    adapter: Any | None = None  # the engine's handle
    run: str = ""
    segments: int = 0  # running, and calls that hold it

    def __str__(self) -> str:
        return f"version {self.version}" + (f" of the run {self.run}" if self.run else "")


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
        self._adapters: list[Policy] = []  # the least recently used one first
        self._newest: dict[str, Policy] = {}  # of each run, loaded or not
        self._tasks: set[asyncio.Task[None]] = set()  # asyncio itself keeps weak references only
        self._unloading: set[Policy] = set()
        self._update = asyncio.Lock()
        self._open = asyncio.Event()  # new segments may start
        self._open.set()
        self._released = asyncio.Event()  # a segment has ended, or a policy has been unloaded

    @property
    def loaded(self) -> list[Policy]:
        """The loaded policies, by run and version."""
        return sorted((self._weights, *self._adapters), key=lambda policy: (policy.run, policy.version))

    @property
    def versions(self) -> list[int]:
        """The loaded versions in ascending order."""
        return sorted(policy.version for policy in self.loaded)

    @asynccontextmanager
    async def hold(self, run: str, version: int) -> AsyncIterator[Policy]:
        """Yield this policy, and keep it loaded for the block; its segments are those with `held`.

        Raises:
            WrongOrder: It is not loaded.
        """
        await self._open.wait()
        policy = self._find(run, version)
        self._remember(run, self._newest.get(run, policy))
        async with self.segment(held=policy):
            yield policy

    @asynccontextmanager
    async def segment(self, held: Policy | None = None) -> AsyncIterator[Policy]:
        """Yield the policy for one segment, and keep it loaded for the block. `held` is the one that its call holds."""
        if held is None:  # a call that holds a policy ends by its segments: `replace` lets them start
            await self._open.wait()
        policy = held or self.current
        policy.segments += 1
        try:
            yield policy
        finally:
            policy.segments -= 1
            if policy in self._adapters:
                self._adapters.remove(policy)
                self._adapters.append(policy)
            self._unload_unused()
            self._released.set()

    def has(self, policy: Policy) -> bool:
        """Return whether this policy is loaded, by its run, version and content; False if it can be.

        Raises:
            WrongOrder: Its version is older than that of its run, or the same with different content, or its run has
                lost its weights to another one.
        """
        self._check_weights(policy)
        newest = self._newest.get(policy.run)
        if newest is None or policy.version > newest.version:
            return False
        if (policy.version, policy.content) == (newest.version, newest.content):
            return newest in self.loaded
        of_run = f" of the run {policy.run}" if policy.run else ""
        difference = ", with different content" if policy.version == newest.version else ""
        raise WrongOrder(
            f"policy_version {policy.version}{of_run} is not new: this generator is at {newest.version}{difference}; "
            "use a larger one"
        )

    async def adopt(self, policy: Policy, load: Callable[[], Awaitable[None]]) -> None:
        """Load a policy with an adapter by calling `load`, and make it current.

        Raises:
            WrongOrder: Its version is not new, or the weights that it is for are not loaded.
            Overloaded: Running segments use the maximum number of adapters.
        """

        async def update() -> None:
            if self.has(policy):
                return
            await self._wait_for_room(policy.run)
            try:
                await load()
            except BaseException:
                self._start_unloading(policy)
                raise
            self._adapters.append(policy)
            self._set_current(policy)

        await self._run_update(update)

    async def replace(self, policy: Policy, load: Callable[[], Awaitable[None]]) -> None:
        """Load a policy without an adapter by calling `load`, and make it current. Version 0 is the model as loaded.

        No segment runs during `load`, and no adapter is loaded afterwards.

        Raises:
            WrongOrder: Its version is not new, or its run has lost its weights to another one.
        """

        async def update() -> None:
            if self.has(policy) if policy.version else self.has_base(policy.run):
                return
            self._open.clear()
            try:
                await self._wait_until(lambda: not any(loaded.segments for loaded in self.loaded))
                await load()
                self._weights = policy
                self._set_current(policy)
                for adapter in list(self._adapters):
                    self._remove(adapter)
            finally:
                self._open.set()

        await self._run_update(update)

    def has_base(self, run: str) -> bool:
        """Return whether the weights are those of the model as loaded.

        Raises:
            WrongOrder: They are not, because `run` has lost its own to another one.
        """
        self._check_weights(Policy(0, run=run))
        return self._weights.version == 0

    def _find(self, run: str, version: int) -> Policy:
        if version == 0 and self._weights.version == 0:
            return self._weights
        for policy in self.loaded:
            if (policy.run, policy.version) == (run, version):
                return policy
        name = Policy(version, run=run) if version else "the model as loaded"
        raise WrongOrder(f"{name} is not loaded: this generator serves {self.current}; send the policy again")

    def _check_weights(self, policy: Policy) -> None:
        """Check that the weights under `policy` are not those of another run.

        Raises:
            WrongOrder: They are.
        """
        weights = self._weights
        if not policy.run or not weights.version or weights.run == policy.run:
            return
        if policy.run in self._newest:
            raise WrongOrder(
                f"the run {policy.run} has lost this generator to {weights}, which replaced all weights: a generator "
                "serves one run at a time unless all of them train LoRA adapters; use one generator for each run"
            )
        if policy.adapter:
            raise WrongOrder(
                f"this generator serves {weights} instead of the model as loaded, for which the adapter is; restore it "
                "with LoadCheckpoint and policy_version 0"
            )

    def _set_current(self, policy: Policy) -> None:
        self.current = policy
        self._remember(policy.run, policy)
        self._unload_unused()

    def _remember(self, run: str, newest: Policy) -> None:
        self._newest.pop(run, None)
        self._newest[run] = newest
        for forgotten in list(self._newest)[:-_MOST_RUNS]:
            del self._newest[forgotten]

    async def _run_update(self, update: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            async with self._update:
                await update()

        await asyncio.shield(self._create_task(run()))

    async def _wait_for_room(self, run: str) -> None:
        """Wait until another adapter can be loaded, for which one without a running segment is unloaded."""
        try:
            async with asyncio.timeout(self._patience_s):
                while len(self._adapters) + len(self._unloading) >= self._max_adapters:
                    self._released.clear()
                    self._unload_idle(run)
                    await self._released.wait()
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

    def _unload_idle(self, run: str) -> None:
        """Unload the least recently used adapter, that of `run` before others; never the current one."""
        idle = [policy for policy in self._adapters if policy is not self.current and not policy.segments]
        if idle and not self._unloading:
            self._remove(min(idle, key=lambda policy: policy.run != run))

    def _unload_unused(self) -> None:
        for policy in list(self._adapters):
            if policy is not self.current and policy is not self._newest.get(policy.run) and not policy.segments:
                self._remove(policy)

    def _remove(self, adapter: Policy) -> None:
        self._adapters.remove(adapter)
        self._start_unloading(adapter)

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

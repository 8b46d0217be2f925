"""Pool of sandboxes that are forked and locked down before a session needs them."""

import asyncio
import hashlib
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

from deepmath.errors import Unavailable
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.isolation.layers import IsolationLayer, Level, missing_for
from deepmath.sandbox.limits import Limits
from deepmath.sandbox.supervisor.backend import Backend
from deepmath.sandbox.supervisor.isolation_probe import probe_layers
from deepmath.sandbox.supervisor.memory_budget import MemoryBudget
from deepmath.sandbox.supervisor.native_backend import NativeBackend
from deepmath.sandbox.supervisor.pooled_session import PooledSession
from deepmath.sandbox.supervisor.sandbox_process import Sandbox

log = logging.getLogger(__name__)

_IDLE_CHECK_SECONDS = 0.5
_RETRY_SECONDS = 1.0


class SandboxPool:
    """Keeps `waiting` sandboxes ready. It refills in the background, and no session waits for that.

    As an async context manager it starts the backend, checks that `required_level` is in force and stops everything
    at the end:

        async with SandboxPool() as pool, pool.session() as session:
            result = await session.run("sum(range(10))")

    Args:
        backend: Source of sandboxes; default a `NativeBackend` with its defaults.
        waiting: Number of sandboxes kept ready.
        required_level: Lowest isolation level to accept on entering the context.
        limits: Default limits of a snippet.

    Attributes:
        layers: Isolation layers around each sandbox.
        versions: Versions of Python and of the preloaded packages, by name.
        on_kill: Called with the seconds between a time limit and the death of the sandbox killed for it.
    """

    def __init__(
        self,
        backend: Backend | None = None,
        waiting: int = 1,
        required_level: Level = "pod",
        limits: Limits | None = None,
    ) -> None:
        self._size = waiting
        self._backend: Backend = backend or NativeBackend()
        self._required_level = required_level
        self.limits = limits or Limits()
        self._ready: deque[Sandbox] = deque()
        self._waiters: deque[asyncio.Future[Sandbox]] = deque()
        self._in_use: set[Sandbox] = set()
        self._released_cpu = 0.0  # seconds
        self._opening: set[asyncio.Task[None]] = set()
        self._refill_needed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.layers: list[IsolationLayer] = []
        self.versions: dict[str, str] = {}
        self.on_kill: Callable[[float], None] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
            self.require(self._required_level)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def session(self, seed: int = 0) -> AsyncIterator[PooledSession]:
        """Open a session: its snippets share variables, and its sandbox dies with it.

        `seed` seeds the random number generators.
        """
        session = PooledSession(self.acquire, self.release, self.limits, seed)
        try:
            yield session
        finally:
            session.close()

    async def run(self, code: str, limits: Limits | None = None, seed: int = 0, stdin: str = "") -> pb.SnippetResult:
        """Run one snippet in a sandbox of its own, as `PooledSession.run` does.

        Raises:
            Unavailable: No sandbox could be started.
        """
        async with self.session(seed) as session:
            return await session.run(code, limits, stdin)

    async def start(self) -> None:
        """Start the backend, probe the isolation layers from inside a sandbox and start filling the pool.

        Raises:
            Unavailable: No sandbox could be started.
        """
        await self._backend.start()
        first = await self._backend.open()
        try:
            self.layers = await probe_layers(first, self._backend.layers)
        finally:
            first.close()
        self.versions = self._backend.versions
        self._tasks = [asyncio.create_task(work()) for work in (self._refill, self._supervise)]
        self._refill_needed.set()

    def require(self, level: Level) -> None:
        """Check that `level` is in force.

        Raises:
            Unavailable: Layers are missing; the message names them and says how to get them.
        """
        if missing := missing_for(level, self.layers):
            raise Unavailable(f"isolation level {level!r} is not available here: {missing}")

    async def close(self) -> None:
        """Kill every sandbox and stop the backend."""
        tasks = [*self._tasks, *self._opening]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for sandbox in (*self._ready, *self._in_use):
            sandbox.close()
        await self._backend.close()

    @property
    def versions_digest(self) -> str:
        """SHA-256 of the versions in canonical JSON, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.versions, sort_keys=True).encode()).hexdigest()

    @property
    def waiting(self) -> int:
        """Number of sandboxes ready for a session."""
        return sum(sandbox.alive for sandbox in self._ready)

    @property
    def replacements(self) -> int:
        """Number of times that the process which forks sandboxes was replaced."""
        return self._backend.replacements

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all sandboxes that sessions have had, in seconds."""
        return self._released_cpu + sum(sandbox.cpu_seconds() for sandbox in self._in_use)

    @property
    def memory(self) -> MemoryBudget:
        """Budget of the sandboxes' memory."""
        return self._backend.memory

    async def acquire(self) -> Sandbox:
        """Return a sandbox that has run nothing yet. End it with `release`.

        Raises:
            Unavailable: No sandbox could be started.
        """
        self._drop_dead()
        sandbox = self._ready.popleft() if self._ready else await self._wait_for_sandbox()
        self._refill_needed.set()
        sandbox.on_kill = self.on_kill
        self._in_use.add(sandbox)
        return sandbox

    def release(self, sandbox: Sandbox) -> None:
        """Kill a sandbox. It is never reused."""
        if sandbox in self._in_use:
            self._in_use.remove(sandbox)
            self._released_cpu += sandbox.cpu_seconds()
        sandbox.close()

    async def _wait_for_sandbox(self) -> Sandbox:
        waiter: asyncio.Future[Sandbox] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._refill_needed.set()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._assign(waiter.result())
            raise

    def _assign(self, sandbox: Sandbox) -> None:
        """Give a new sandbox to the longest waiting caller, or keep it for the next."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(sandbox)
                return
        self._ready.append(sandbox)

    def _drop_dead(self) -> None:
        for sandbox in [sandbox for sandbox in self._ready if not sandbox.alive]:
            self._ready.remove(sandbox)
            sandbox.close()

    async def _refill(self) -> None:
        while True:
            await self._refill_needed.wait()
            self._refill_needed.clear()
            self._drop_dead()
            missing = self._size + len(self._waiters) - len(self._ready) - len(self._opening)
            for _ in range(min(missing, self._backend.at_once - len(self._opening))):
                task = asyncio.create_task(self._open())
                self._opening.add(task)
                task.add_done_callback(self._open_done)

    def _open_done(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        self._refill_needed.set()

    async def _open(self) -> None:
        try:
            self._assign(await self._backend.open())
        except Unavailable as error:
            log.error("%s", error)
            waiters, self._waiters = self._waiters, deque()
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(Unavailable(str(error)))
            await asyncio.sleep(_RETRY_SECONDS)

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(_IDLE_CHECK_SECONDS)
            for sandbox in tuple(self._in_use):
                sandbox.check_idle()
            if self.waiting < self._size:
                self._refill_needed.set()

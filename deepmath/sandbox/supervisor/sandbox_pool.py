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
from deepmath.sandbox.supervisor.native_backend import NativeBackend
from deepmath.sandbox.supervisor.pooled_session import PooledSession
from deepmath.sandbox.supervisor.sandbox_process import Sandbox
from deepmath.sandbox.supervisor.wall_probe import try_walls

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
        self._waiting: deque[Sandbox] = deque()
        self._takers: deque[asyncio.Future[Sandbox]] = deque()
        self._lent: set[Sandbox] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._wanted = asyncio.Event()
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

    async def run(self, code: str, limits: Limits | None = None, seed: int = 0) -> pb.SnippetResult:
        """Run one snippet in a sandbox of its own.

        Raises:
            Unavailable: no sandbox could be started.
        """
        async with self.session(seed) as session:
            return await session.run(code, limits)

    async def start(self) -> None:
        """Start the backend, probe the isolation layers from inside a sandbox and start filling the pool.

        Raises:
            Unavailable: no sandbox could be started.
        """
        await self._backend.start()
        first = await self._backend.open()
        try:
            self.layers = await try_walls(first, self._backend.layers)
        finally:
            first.close()
        self.versions = self._backend.versions
        self._tasks = [asyncio.create_task(work()) for work in (self._refill, self._look_after)]
        self._wanted.set()

    def require(self, level: Level) -> None:
        """Check that `level` is in force.

        Raises:
            Unavailable: layers are missing; the message names them and says how to get them.
        """
        if missing := missing_for(level, self.layers):
            raise Unavailable(f"isolation level {level!r} is not available here: {missing}")

    async def close(self) -> None:
        """End every sandbox and the backend."""
        tasks = [*self._tasks, *self._opening]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for sandbox in (*self._waiting, *self._lent):
            sandbox.close()
        await self._backend.close()

    @property
    def versions_digest(self) -> str:
        """SHA-256 of the versions in canonical JSON, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.versions, sort_keys=True).encode()).hexdigest()

    @property
    def waiting(self) -> int:
        """Sandboxes ready for a session."""
        return sum(sandbox.alive for sandbox in self._waiting)

    @property
    def replacements(self) -> int:
        """How many times what sandboxes are forked from was replaced."""
        return self._backend.replacements

    async def acquire(self) -> Sandbox:
        """Lend a sandbox that has run nothing yet; give it back with `release`.

        Raises:
            Unavailable: none can be had.
        """
        self._drop_dead()
        sandbox = self._waiting.popleft() if self._waiting else await self._next_opened()
        self._wanted.set()
        sandbox.on_kill = self.on_kill
        self._lent.add(sandbox)
        return sandbox

    def release(self, sandbox: Sandbox) -> None:
        """End a sandbox: it is never used twice."""
        self._lent.discard(sandbox)
        sandbox.close()

    async def _next_opened(self) -> Sandbox:
        taker: asyncio.Future[Sandbox] = asyncio.get_running_loop().create_future()
        self._takers.append(taker)
        self._wanted.set()
        try:
            return await taker
        except asyncio.CancelledError:
            if taker.done() and not taker.cancelled() and taker.exception() is None:
                self._hand_out(taker.result())
            raise

    def _hand_out(self, sandbox: Sandbox) -> None:
        """Give a new sandbox to who has waited longest, or let it wait."""
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(sandbox)
                return
        self._waiting.append(sandbox)

    def _drop_dead(self) -> None:
        for sandbox in [sandbox for sandbox in self._waiting if not sandbox.alive]:
            self._waiting.remove(sandbox)
            sandbox.close()

    async def _refill(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._drop_dead()
            missing = self._size + len(self._takers) - len(self._waiting) - len(self._opening)
            for _ in range(min(missing, self._backend.at_once - len(self._opening))):
                task = asyncio.create_task(self._open())
                self._opening.add(task)
                task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        self._wanted.set()

    async def _open(self) -> None:
        try:
            self._hand_out(await self._backend.open())
        except Unavailable as error:
            log.error("%s", error)
            takers, self._takers = self._takers, deque()
            for taker in takers:
                if not taker.done():
                    taker.set_exception(Unavailable(str(error)))
            await asyncio.sleep(_RETRY_SECONDS)

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(_IDLE_CHECK_SECONDS)
            for sandbox in tuple(self._lent):
                sandbox.check_idle()
            if self.waiting < self._size:
                self._wanted.set()

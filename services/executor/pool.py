"""Sandboxes that wait, locked down, for a session; and the zygote they come from."""

import asyncio
import logging
from collections import deque

from deepmath.errors import Unavailable
from services.executor.config import AnyLevel, Level
from services.executor.fork_server import ForkFailed, ForkServer
from services.executor.layers import Layer, missing_for
from services.executor.probe import try_walls
from services.executor.sandbox import Sandbox

log = logging.getLogger(__name__)

_IDLE_CHECK_SECONDS = 0.5
_RETRY_SECONDS = 1.0
_TRIES = 3


class Pool:
    """Keeps `size` sandboxes waiting. Refilling goes on beside the sessions and never holds one up."""

    def __init__(self, size: int, level: AnyLevel) -> None:
        self._size = size
        self._level = level
        self._refusal = ""
        self._waiting: deque[Sandbox] = deque()
        self._lent: set[Sandbox] = set()
        self._wanted = asyncio.Event()
        self._server: ForkServer | None = None
        self._starting = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self.layers: list[Layer] = []
        self.versions: dict[str, str] = {}

    async def start(self) -> None:
        """Start the zygote, try the walls, and begin to fill the pool.

        Raises:
            Unavailable: no sandbox can be had.
        """
        server = await self._start_first_server()
        self.layers = await try_walls(self._open, server.layers)
        self.versions = server.versions
        self._tasks = [asyncio.create_task(work()) for work in (self._refill, self._look_after)]
        self._wanted.set()

    def require(self, level: Level) -> None:
        """Insist on `level`.

        Raises:
            Unavailable: layers are missing; the message says which, and how to get them.
        """
        if missing := missing_for(level, self.layers):
            raise Unavailable(f"isolation level {level!r} cannot be had here: {missing}")

    async def close(self) -> None:
        """End every sandbox and the zygote."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for sandbox in (*self._waiting, *self._lent):
            sandbox.close()
        if self._server is not None:
            self._server.stop()

    @property
    def waiting(self) -> int:
        """Sandboxes ready for a session."""
        return sum(sandbox.alive for sandbox in self._waiting)

    async def acquire(self) -> Sandbox:
        """Lend a sandbox that has run nothing yet; give it back with `release`.

        Raises:
            Unavailable: none can be had.
        """
        self._drop_dead()
        sandbox = self._waiting.popleft() if self._waiting else await self._open()
        self._wanted.set()
        self._lent.add(sandbox)
        return sandbox

    def release(self, sandbox: Sandbox) -> None:
        """End a sandbox: it is never used twice."""
        self._lent.discard(sandbox)
        sandbox.close()

    def _drop_dead(self) -> None:
        for sandbox in [sandbox for sandbox in self._waiting if not sandbox.alive]:
            self._waiting.remove(sandbox)
            sandbox.close()

    async def _open(self) -> Sandbox:
        for _ in range(_TRIES):
            server = await self._living_server()
            try:
                return await Sandbox.open(server)
            except (ForkFailed, OSError) as error:  # OSError: no descriptor is free
                log.error("no sandbox: %s", error)
        raise Unavailable("no sandbox can be had at the moment; the log of the executor says why")

    async def _start_first_server(self) -> ForkServer:
        """Find out what this machine allows; a zygote that follows never makes do with less."""
        if self._level == "pod":
            self._refusal = "not asked for: level is pod"
        try:
            self._server = await ForkServer.start(self._refusal)
        except Unavailable as error:
            if self._level == "full":
                raise
            self._refusal = (
                f"refused: {error}; allow user namespaces (user.max_user_namespaces, kernel.unprivileged_userns_clone, "
                "the container's seccomp and AppArmor profiles)"
            )
            log.warning("no namespaces of our own: %s", self._refusal)
            self._server = await ForkServer.start(self._refusal)
        return self._server

    async def _living_server(self) -> ForkServer:
        async with self._starting:
            if self._server is None or self._server.gone.done():
                log.error("the zygote died; a new one is being started")
                self._server = await ForkServer.start(self._refusal)
            return self._server

    async def _refill(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._drop_dead()
            try:
                while len(self._waiting) < self._size:
                    self._waiting.append(await self._open())
            except Unavailable as error:
                log.error("%s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                self._wanted.set()

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(_IDLE_CHECK_SECONDS)
            for sandbox in tuple(self._lent):
                sandbox.check_idle()
            if self.waiting < self._size:
                self._wanted.set()

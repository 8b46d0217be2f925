"""Sandboxes that wait, locked down, for a session; and the zygote they come from."""

import asyncio
import logging
from collections import deque

from deepmath.errors import Unavailable
from services.executor.fork_server import ForkFailed, ForkServer
from services.executor.layers import Layer, inspect, missing_for, namespaces_refused
from services.executor.sandbox import Sandbox

log = logging.getLogger(__name__)

_IDLE_CHECK_SECONDS = 0.5
_RESTART_PAUSE_SECONDS = 1.0
_TRIES = 3


class Pool:
    """Keeps `size` sandboxes waiting. Refilling goes on beside the sessions and never holds one up."""

    def __init__(self, size: int, require: str) -> None:
        self._size = size
        self._require = require
        self._waiting: deque[Sandbox] = deque()
        self._lent: set[Sandbox] = set()
        self._wanted = asyncio.Event()
        self._server: ForkServer | None = None
        self._starting = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self.layers: list[Layer] = []
        self.versions: dict[str, str] = {}

    async def start(self) -> None:
        """Start the zygote and the first sandbox, and see what isolates it.

        Raises:
            Unavailable: the layers that are required are not to be had.
        """
        server = await self._living_server()
        sandbox = await self._open()
        self.layers = [*server.layers, *inspect(sandbox)]
        self.versions = server.versions
        if missing := missing_for(self._require, self.layers):
            sandbox.close()
            self._stop_server()
            raise Unavailable(f"isolation level {self._require!r} cannot be had here: {missing}")
        self._waiting.append(sandbox)
        self._tasks = [asyncio.create_task(work()) for work in (self._refill, self._watch_idle)]
        self._wanted.set()

    async def close(self) -> None:
        """End every sandbox and the zygote."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for sandbox in (*self._waiting, *self._lent):
            sandbox.close()
        self._stop_server()

    @property
    def waiting(self) -> int:
        """Sandboxes ready for a session."""
        return len(self._waiting)

    async def acquire(self) -> Sandbox:
        """Lend a sandbox that has run nothing yet; give it back with `release`.

        Raises:
            Unavailable: none can be had.
        """
        sandbox = self._pop() or await self._open()
        self._wanted.set()
        self._lent.add(sandbox)
        return sandbox

    def release(self, sandbox: Sandbox) -> None:
        """End a sandbox: it is never used twice."""
        self._lent.discard(sandbox)
        sandbox.close()

    def _pop(self) -> Sandbox | None:
        while self._waiting:
            sandbox = self._waiting.popleft()
            if sandbox.alive:
                return sandbox
            sandbox.close()
        return None

    async def _open(self) -> Sandbox:
        for _ in range(_TRIES):
            server = await self._living_server()
            try:
                return await Sandbox.open(server)
            except ForkFailed as error:
                log.error("no sandbox: %s", error)
        raise Unavailable("no sandbox can be had at the moment; the log of the executor says why")

    async def _living_server(self) -> ForkServer:
        async with self._starting:
            if self._server is None or self._server.gone.done():
                if self._server is not None:
                    log.error("the zygote died; a new one is being started")
                self._server = await self._start_server()
            return self._server

    async def _start_server(self) -> ForkServer:
        try:
            return await ForkServer.start("full")
        except Unavailable as refusal:
            if self._require == "full":
                raise Unavailable(f"isolation level 'full' cannot be had here: {refusal}") from refusal
            log.warning("going on without namespaces of our own: %s", refusal)
            server = await ForkServer.start("pod")
            server.layers = namespaces_refused(server.layers, str(refusal))
            return server

    def _stop_server(self) -> None:
        if self._server is not None:
            self._server.stop()

    async def _refill(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                while len(self._waiting) < self._size:
                    self._waiting.append(await self._open())
            except Unavailable as error:
                log.error("%s", error)
                await asyncio.sleep(_RESTART_PAUSE_SECONDS)
                self._wanted.set()

    async def _watch_idle(self) -> None:
        while True:
            await asyncio.sleep(_IDLE_CHECK_SECONDS)
            for sandbox in tuple(self._lent):
                sandbox.check_idle()
            if self._server is not None and self._server.gone.done():
                self._wanted.set()

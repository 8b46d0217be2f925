"""Sandboxes forked on this machine, from a zygote that is replaced when it dies or grows."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from weakref import WeakSet

from deepmath.errors import Unavailable
from deepmath.sandbox.allowed_modules import ALLOWED_MODULES
from deepmath.sandbox.isolation.cgroup import Cgroup, memory_here
from deepmath.sandbox.isolation.layers import IsolationLayer, RequestedLevel
from deepmath.sandbox.preload_set import MATHS, PreloadSet
from deepmath.sandbox.supervisor.fork_server import ForkFailed, ForkServer, PreloadFailed
from deepmath.sandbox.supervisor.memory_watchdog import relieve
from deepmath.sandbox.supervisor.sandbox_process import Sandbox
from deepmath.sandbox.zygote_protocol import ZygoteSettings

log = logging.getLogger(__name__)

_TRIES = 3
_WATCH_SECONDS = 0.1
_GROWTH_BYTES = 256 << 20
_GRACE_S = 0.05


class NativeBackend:
    """Forks sandboxes from a zygote on this machine.

    Args:
        level: Isolation level: "full", "pod" (no namespaces), or "best" for the highest that the kernel allows.
        preload: Modules that sandboxes start with.
        allowed_modules: Top-level modules that a snippet may import.
        grace_s: Time for a snippet to end after the signal at its time limit, in seconds, before it is killed.
        cgroup: Control group for all processes; default none, and the supervisor watches their memory instead.
        growth_bytes: Growth of the zygote after which it is replaced.
    """

    name = "native"
    at_once = 2  # the zygote forks one while another locks itself down

    def __init__(
        self,
        level: RequestedLevel = "best",
        preload: PreloadSet = MATHS,
        allowed_modules: Sequence[str] = ALLOWED_MODULES,
        grace_s: float = _GRACE_S,
        cgroup: Cgroup | None = None,
        growth_bytes: int = _GROWTH_BYTES,
    ) -> None:
        self._level = level
        self._settings = ZygoteSettings(preload, tuple(allowed_modules))
        self._grace_s = grace_s
        self._cgroup = cgroup or Cgroup(memory_here() * 9 // 10, 0, wanted=False)
        self._growth_bytes = growth_bytes
        self._refusal = ""
        self._server: ForkServer | None = None
        self._servers: WeakSet[ForkServer] = WeakSet()  # the one above, and those that live on for their sandboxes
        self._sandboxes: WeakSet[Sandbox] = WeakSet()
        self._starting = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self.layers: list[IsolationLayer] = []
        self.versions: dict[str, str] = {}
        self.replacements = 0

    async def start(self) -> None:
        """Start the zygote.

        Raises:
            Unavailable: it cannot be had; the message says why.
        """
        server = await self._start_first_server()
        self.layers = [*server.layers, self._cgroup.layer]
        self.versions = server.versions
        self._watching = asyncio.create_task(self._watch())

    async def open(self) -> Sandbox:
        """Fork a sandbox.

        Raises:
            Unavailable: none can be had at the moment.
        """
        for _ in range(_TRIES):
            server = await self._living_server()
            try:
                sandbox = await Sandbox.open(server, self._grace_s)
            except (ForkFailed, OSError) as error:  # OSError: no descriptor is free
                log.error("no sandbox: %s", error)
            else:
                self._sandboxes.add(sandbox)
                return sandbox
        raise Unavailable("no sandbox can be had at the moment; the log of the executor says why")

    async def close(self) -> None:
        """End every sandbox and every zygote."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        for server in tuple(self._servers):
            server.stop()
        self._cgroup.close()

    async def _start_first_server(self) -> ForkServer:
        """Find out what this machine allows; a zygote that follows never makes do with less."""
        if self._level == "pod":
            self._refusal = "not asked for: level is pod"
        try:
            return await self._start_server()
        except Unavailable as error:
            if self._level != "best" or isinstance(error, PreloadFailed):
                raise
            self._refusal = (
                f"refused: {error}; allow user namespaces (user.max_user_namespaces, kernel.unprivileged_userns_clone, "
                "the container's seccomp and AppArmor profiles)"
            )
            log.warning("no namespaces of our own: %s", self._refusal)
            return await self._start_server()

    async def _start_server(self) -> ForkServer:
        server = await ForkServer.start(self._settings, self._refusal, self._cgroup.add)
        self._servers.add(server)
        self._server = server
        return server

    async def _living_server(self) -> ForkServer:
        async with self._starting:
            if self._server is None or self._server.gone.done():
                log.error("the zygote died; a new one is being started, and sandboxes that live go on")
                self.replacements += 1
                return await self._start_server()
            return self._server

    async def _replace(self, old: ForkServer) -> None:
        """Put a new zygote in the place of `old`, which goes when its last sandbox does."""
        async with self._starting:
            log.warning("the zygote has grown; a new one takes its place")
            self.replacements += 1
            await self._start_server()
            old.retire()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            with contextlib.suppress(Unavailable):  # logged, and tried again
                server = await self._living_server()
                if _grown_by(server) >= self._growth_bytes:
                    await self._replace(server)
            if not self._cgroup.limits_memory:
                held = {sandbox: sandbox.held_bytes() for sandbox in self._sandboxes if sandbox.alive}
                relieve(held, self._cgroup.memory_bytes)


def _grown_by(server: ForkServer) -> int:
    try:
        (held,) = server.meter.status_bytes("RssAnon")
    except OSError:  # it died just now, which the next round sees
        return 0
    return held - server.held_at_start

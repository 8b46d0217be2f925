"""Native backend: sandboxes forked on this machine from a zygote, which is replaced when it dies or grows."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from weakref import WeakSet

from deepmath.errors import Unavailable
from deepmath.sandbox.allowed_modules import ALLOWED_MODULES
from deepmath.sandbox.isolation.cgroup import Cgroup
from deepmath.sandbox.isolation.layers import IsolationLayer, RequestedLevel
from deepmath.sandbox.isolation.memory_gauge import MemoryGauge
from deepmath.sandbox.preload_set import MATHS, PreloadSet
from deepmath.sandbox.supervisor.fork_server import ForkFailed, ForkServer, PreloadFailed
from deepmath.sandbox.supervisor.memory_budget import MemoryBudget
from deepmath.sandbox.supervisor.sandbox_process import Sandbox
from deepmath.sandbox.zygote_protocol import ZygoteSettings

log = logging.getLogger(__name__)

_ATTEMPTS = 3
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
        cgroup: Control group for all processes, whose limits the kernel enforces; default none.
        memory: Budget of the sandboxes' memory; default 90 % of what this process may use, a snippet for each core.
        growth_bytes: Growth of the zygote after which it is replaced.
    """

    name = "native"
    at_once = 2  # one forks while another locks itself down

    def __init__(
        self,
        level: RequestedLevel = "best",
        preload: PreloadSet = MATHS,
        allowed_modules: Sequence[str] = ALLOWED_MODULES,
        grace_s: float = _GRACE_S,
        cgroup: Cgroup | None = None,
        memory: MemoryBudget | None = None,
        growth_bytes: int = _GROWTH_BYTES,
    ) -> None:
        self._level = level
        self._settings = ZygoteSettings(preload, tuple(allowed_modules))
        self._grace_s = grace_s
        self.memory = memory or MemoryBudget()
        self._cgroup = cgroup or Cgroup(self.memory.total_bytes, 0, enabled=False)
        self._growth_bytes = growth_bytes
        self._refusal = ""
        self._server: ForkServer | None = None
        self._servers: WeakSet[ForkServer] = WeakSet()  # the current one, and retired ones with live sandboxes
        self._starting = asyncio.Lock()
        self._watching: list[asyncio.Task[None]] = []
        self.layers: list[IsolationLayer] = []
        self.versions: dict[str, str] = {}
        self.replacements = 0

    async def start(self) -> None:
        """Start the zygote.

        Raises:
            Unavailable: It could not be started; the message says why.
        """
        server = await self._start_first_server()
        self.layers = [*server.layers, self._cgroup.layer]
        group = self._cgroup.memory_group
        self.memory.gauge = MemoryGauge(self._cgroup.memory_bytes, group) if group else MemoryGauge.of_this_process()
        self.versions = server.versions
        self.memory.watch()
        self._watching = [asyncio.create_task(watch()) for watch in (self._watch_zygote, self._watch_memory)]

    async def open(self) -> Sandbox:
        """Fork a sandbox.

        Raises:
            Unavailable: No sandbox could be forked.
        """
        for _ in range(_ATTEMPTS):
            server = await self._living_server()
            try:
                sandbox = await Sandbox.open(server, self._grace_s, self.memory)
            except (ForkFailed, OSError) as error:  # OSError: no free file descriptor
                log.error("fork of a sandbox failed: %s", error)
            else:
                return sandbox
        raise Unavailable("no sandbox could be started; the log says why")

    async def close(self) -> None:
        """Kill every sandbox and every zygote."""
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        servers = tuple(self._servers)
        for server in servers:
            server.stop()
        await asyncio.gather(*(server.stopped for server in servers if server.stopped))
        self._cgroup.close()

    async def _start_first_server(self) -> ForkServer:
        """Start the first zygote, which decides the level. Later ones never accept a lower level."""
        if self._level == "pod":
            self._refusal = "not requested: level is pod"
        try:
            return await self._start_server()
        except Unavailable as error:
            if self._level != "best" or isinstance(error, PreloadFailed):
                raise
            self._refusal = (
                f"refused: {error}; allow user namespaces (user.max_user_namespaces, kernel.unprivileged_userns_clone, "
                "the container's seccomp and AppArmor profiles)"
            )
            log.warning("starting without own namespaces: %s", self._refusal)
            return await self._start_server()

    async def _start_server(self) -> ForkServer:
        server = await ForkServer.start(self._settings, self._refusal, self._cgroup.add)
        self._servers.add(server)
        self._server = server
        return server

    async def _living_server(self) -> ForkServer:
        async with self._starting:
            if self._server is None or self._server.gone.done():
                log.error("the zygote died; starting a new one; open sandboxes are unaffected")
                self.replacements += 1
                return await self._start_server()
            return self._server

    async def _replace(self, old: ForkServer) -> None:
        """Start a new zygote and retire `old`, which exits with its last sandbox."""
        async with self._starting:
            log.warning("the zygote has grown; replacing it")
            self.replacements += 1
            await self._start_server()
            old.retire()

    async def _watch_zygote(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            with contextlib.suppress(Unavailable):  # tried again in the next round
                server = await self._living_server()
                if _growth(server) >= self._growth_bytes:
                    await self._replace(server)

    async def _watch_memory(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            self.memory.watch()


def _growth(server: ForkServer) -> int:
    try:
        (memory,) = server.meter.status_bytes("RssAnon")
    except OSError:  # the zygote died just now, which the next round sees
        return 0
    return memory - server.memory_at_start

"""The backend `docker`: a container for each session.

Theory of operation
-------------------
A container's process 1 is the program that is launched on this machine at level "pod" (`zygote.py`), told to connect to
a socket of the supervisor's instead of inheriting its ends. The folder with that socket is all that a container sees of
the host, read-only, and it is gone once the connections are made. Over them one sandbox is forked, which from then on
is like any other: the engine is on this machine, so the supervisor measures and kills it by its pidfd and /proc,
and no snippet passes through the engine.

A container ends by itself: when its sandbox has ended, and when the supervisor hangs up or dies, because its process 1
then exits; the engine removes it. What can stay behind is a container that was made and never started, or that is
frozen. Each is labelled with its supervisor (`janitor.py`), so that this one's are removed when it closes, and those of
supervisors that are dead when one starts.

An engine that is killed takes nothing with it but the making of new containers. One that is stopped in order, or starts
again, stops its containers; what ran in them is SANDBOX_FAILED.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import struct
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any
from weakref import WeakSet

from deepmath.errors import Unavailable
from deepmath.sandbox.isolation.layers import IsolationLayer
from deepmath.sandbox.isolation.namespaces import NOBODY
from deepmath.sandbox.supervisor.fork_server import SETTINGS, ForkFailed, ForkServer
from deepmath.sandbox.supervisor.memory_watchdog import relieve
from deepmath.sandbox.supervisor.sandbox_process import Sandbox
from deepmath_executor import docker_labels
from deepmath_executor.container_layers import look_at
from deepmath_executor.docker_client import DockerClient

_PROFILE = Path(str(files("deepmath_executor") / "seccomp_profile.json"))
_FOLDER = "/run/supervisor"  # in the container
_SOCKET = "socket"
_CONNECT_SECONDS = 60.0
_LOOK_SECONDS = 1.0
_WATCH_SECONDS = 0.2
# Above what a snippet may have: the interpreter, the libraries, and the zygote that the sandbox shares its pages with.
_OVERHEAD_BYTES = 512 << 20
_PROCESSES = 32  # three of ours, and the threads of the runtime before it becomes the first of them
_PERIOD_US = 100_000


class DockerBackend:
    """Makes containers out of `image` by the engine's `runtime`, or by its own choice where that is empty.

    `memory_bytes` is the most that a snippet may have; a container is allowed what the interpreter takes on top.
    `total_bytes` is what all containers may hold together: there is no new one where it would be too much, and the
    largest is killed where it is.
    """

    name = "docker"

    def __init__(self, image: str, runtime: str, grace_s: float, memory_bytes: int, total_bytes: int) -> None:
        self._image = image
        self._runtime = runtime
        self._grace_s = grace_s
        self._memory_bytes = memory_bytes + _OVERHEAD_BYTES
        self._total_bytes = total_bytes
        self._sandboxes: WeakSet[Sandbox] = WeakSet()
        self._watching: asyncio.Task[None] | None = None
        self._engine: DockerClient | None = None
        self._folder: Path | None = None
        self._made = 0
        self.layers: list[IsolationLayer] = []
        self.versions: dict[str, str] = {}
        self.replacements = 0
        self.at_once = len(os.sched_getaffinity(0))  # loading the libraries keeps a core busy

    async def start(self) -> None:
        """Reach the engine and remove what dead supervisors have left.

        Raises:
            InvalidRequest, Unavailable: it cannot be used; the message says why.
        """
        self._engine = await DockerClient.reach()
        self._engine.check(self._runtime)
        # By its id: a new image of the same name shall not change the libraries under a running service.
        self._image = await self._engine.find_image(self._image)
        self._folder = Path(tempfile.mkdtemp(prefix="deepmath-executor-"))
        await self._engine.remove(docker_labels.LABEL, docker_labels.is_of_dead)
        self._watching = asyncio.create_task(self._watch())

    async def open(self) -> Sandbox:
        """Start a container and make the one sandbox in it.

        Raises:
            Unavailable: none can be had at the moment.
        """
        if sum(self._held().values()) + _OVERHEAD_BYTES > self._total_bytes:
            raise Unavailable(f"the containers hold all of the {self._total_bytes >> 20} MiB they may have together")
        try:
            server = await self._start_server()
        except IndexError:  # the zygote's greeting came without its process
            raise Unavailable(
                "the processes of a container are not of this machine's kernel: name a --runtime that shares it (runc)"
            ) from None
        except OSError as error:  # no descriptor is free, or the folder for temporary files is full
            raise Unavailable(f"no container can be had: {error}") from error
        try:
            sandbox = await Sandbox.open(server, self._grace_s)
        except BaseException as error:
            server.stop()
            if isinstance(error, ForkFailed | OSError):
                raise Unavailable(f"no sandbox can be had in a container: {error}") from error
            raise
        self._sandboxes.add(sandbox)
        return sandbox

    async def close(self) -> None:
        """End every container."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._folder is not None:  # first: a container that is just being made cannot start without it
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._engine is not None:
            with contextlib.suppress(Unavailable):
                await self._engine.remove(docker_labels.LABEL, docker_labels.is_own)
            self._engine.close()

    async def _start_server(self) -> ForkServer:
        assert self._engine is not None
        assert self._folder is not None
        self._made += 1
        folder = self._folder / str(self._made)
        folder.mkdir()
        try:
            folder.chmod(0o755)  # the one above is for this user alone; the container's may be another
            with _listen(folder / _SOCKET) as listener:
                container = await self._engine.start_container(self._host_options(folder), **self._options())
                report, control = await self._connections(listener, container)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        server = await ForkServer.adopt(report, control, lambda: None)  # what is left of it ends by itself
        self._learn(server)
        return server

    def _options(self) -> dict[str, Any]:
        user = os.getuid() or NOBODY
        return {
            "image": self._image,
            "entrypoint": ["python", "-P", "-m", "deepmath.sandbox.inside.zygote", "--connect", f"{_FOLDER}/{_SOCKET}"],
            "command": [],
            "environment": SETTINGS,
            "user": f"{user}:{os.getgid() or NOBODY}",  # the supervisor's, so that it may govern the processes
            "hostname": "sandbox",
            "working_dir": "/",
            "healthcheck": {"Test": ["NONE"]},  # the image's is for the service
            "labels": {docker_labels.LABEL: docker_labels.own_label()},
        }

    def _host_options(self, folder: Path) -> dict[str, Any]:
        return {
            "auto_remove": True,
            "cap_drop": ["ALL"],
            "cpu_period": _PERIOD_US,
            "cpu_quota": _PERIOD_US,
            "ipc_mode": "none",
            "log_config": {"type": "none"},
            "mem_limit": self._memory_bytes,
            "memswap_limit": self._memory_bytes,
            "mounts": [{"Type": "bind", "Source": str(folder), "Target": _FOLDER, "ReadOnly": True}],
            "network_mode": "none",
            "pids_limit": _PROCESSES,
            "read_only": True,
            "runtime": self._runtime or None,
            "security_opt": ["no-new-privileges:true", f"seccomp={_PROFILE.read_text()}"],
        }

    async def _connections(self, listener: socket.socket, container: str) -> list[socket.socket]:
        """Wait for the container's two connections: its reaper's and its zygote's."""
        connections: list[socket.socket] = []
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                connections.append(await self._accept(listener, container))
                if not self.layers:
                    self.layers = [*look_at(_peer(connections[0])), self._cgroup_layer()]
                connections.append(await self._accept(listener, container))
        except BaseException as error:
            for connection in connections:
                connection.close()
            if isinstance(error, TimeoutError):
                raise Unavailable(f"a container did not connect within {_CONNECT_SECONDS:g} s") from error
            raise
        return connections

    async def _accept(self, listener: socket.socket, container: str) -> socket.socket:
        assert self._engine is not None
        accepting = asyncio.create_task(asyncio.get_running_loop().sock_accept(listener))
        try:
            while not (await asyncio.wait({accepting}, timeout=_LOOK_SECONDS))[0]:
                if not await self._engine.runs(container):
                    raise Unavailable(
                        "a container ended before it connected: its image may be of another version (run `make "
                        "images`), or its runtime may not let it reach a socket of this machine"
                    )
            return accepting.result()[0]
        finally:
            accepting.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            relieve(self._held(), self._total_bytes)

    def _held(self) -> dict[Sandbox, int]:
        """Bytes of memory of each container, libraries included: nothing is shared between them but files."""
        held = {}
        for sandbox in self._sandboxes:
            with contextlib.suppress(OSError):  # it is dead
                if sandbox.alive:
                    (held[sandbox],) = sandbox.meter.status_bytes("RssAnon")
        return held

    def _cgroup_layer(self) -> IsolationLayer:
        assert self._engine is not None
        limits = {
            f"{self._memory_bytes >> 20} MiB": self._engine.about["MemoryLimit"],
            f"{_PROCESSES} processes": self._engine.about["PidsLimit"],
            "one core": self._engine.about["CpuCfsQuota"],
        }
        held, missing = (
            [limit for limit, works in limits.items() if bool(works) is wanted] for wanted in (True, False)
        )
        detail = f"each container: {', '.join(held)}" if held else "none"
        if missing:
            detail += f"; this engine's kernel does not hold {', '.join(missing)}"
        return IsolationLayer(name="cgroup", in_force=not missing, detail=detail)

    def _learn(self, server: ForkServer) -> None:
        """Add to what the first container gives what the zygote in it says of itself."""
        if not self.versions:
            self.versions = server.versions
            known = {layer["name"] for layer in self.layers}
            self.layers += [layer for layer in server.layers if layer["name"] not in known]


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen()
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _peer(connection: socket.socket) -> int:
    """The process id of who is at the other end, as this process sees it."""
    pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)

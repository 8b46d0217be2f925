"""The `docker` backend: one container per session.

Theory of operation
-------------------
Process 1 of a container is the launcher that the native backend starts at level `pod` (`inside/zygote.py`), except that
it connects to a socket of the supervisor instead of inheriting its end. The folder with that socket is all that a
container sees of the host, read-only, and is removed once the container has connected. One sandbox is forked over these
connections. From then on it is like any other sandbox: the engine is on this machine, so the supervisor measures and
kills it by pidfd and /proc, and no snippet passes through the engine.

A container ends by itself when its sandbox ends, and when the supervisor closes its connections or dies, because its
process 1 then exits; the engine removes it. A container that was created but never started, or that is frozen, can stay
behind. Each container is labelled with its supervisor (`docker_labels.py`): a supervisor removes its own containers on
close and orphaned ones on start.

An engine that is killed only stops new containers. An engine that shuts down in order, or restarts, stops its
containers; their snippets end as SANDBOX_FAILED.
"""

import asyncio
import contextlib
import os
import socket

from deepmath.errors import Unavailable
from deepmath.owned_folders import OwnedFolder
from deepmath.sandbox.isolation.layers import IsolationLayer
from deepmath.sandbox.supervisor.fork_server import ForkFailed, ForkServer
from deepmath.sandbox.supervisor.memory_budget import MemoryBudget
from deepmath.sandbox.supervisor.sandbox_process import Sandbox
from deepmath.sandbox.zygote_protocol import ZygoteSettings
from deepmath_executor import docker_labels
from deepmath_executor.container_layers import container_cgroup_layer, container_layers
from deepmath_executor.container_spec import PROCESSES, ContainerSpec
from deepmath_executor.docker_client import DockerClient
from deepmath_executor.supervisor_socket import SupervisorSocket, peer_pid

_CONNECT_SECONDS = 60.0
_WATCH_SECONDS = 0.2
# Beyond a snippet's memory limit: the interpreter, the libraries, and the zygote that the sandbox shares pages with.
_OVERHEAD_BYTES = 512 << 20


class DockerBackend:
    """Runs each sandbox in a container of `image` under `runtime` (empty: the engine's default).

    `memory_bytes` is the highest memory limit of a snippet; a container may use the interpreter's share on top.
    `memory` limits all containers together: none is started that could exceed it, and if sessions hold too much the
    largest is evicted.
    """

    name = "docker"

    def __init__(
        self,
        image: str,
        runtime: str,
        grace_s: float,
        memory_bytes: int,
        memory: MemoryBudget,
        settings: ZygoteSettings,
    ) -> None:
        self._settings = settings
        self._image = image
        self._runtime = runtime
        self._grace_s = grace_s
        self._memory_bytes = memory_bytes + _OVERHEAD_BYTES
        self.memory = memory
        self._watching: asyncio.Task[None] | None = None
        self._client: DockerClient | None = None
        self._folder: OwnedFolder | None = None
        self._started = 0
        self.layers: list[IsolationLayer] = []
        self.versions: dict[str, str] = {}
        self.replacements = 0
        self.at_once = len(os.sched_getaffinity(0))  # loading the libraries keeps a core busy

    async def start(self) -> None:
        """Connect to the engine and remove orphaned containers.

        Raises:
            InvalidRequest, Unavailable: The engine cannot be used; the message says why.
        """
        self._client = await DockerClient.connect()
        self._client.require(self._runtime)
        # By id: a new image of the same name must not change the libraries of a running service.
        self._image = await self._client.image_id(self._image)
        try:
            self._folder = OwnedFolder("deepmath-executor")
        except OSError as error:
            raise Unavailable(f"cannot create a folder for the containers' sockets: {error}; set TMPDIR") from error
        await self._client.remove_containers(docker_labels.LABEL, docker_labels.is_orphaned)
        self._watching = asyncio.create_task(self._watch())

    async def open(self) -> Sandbox:
        """Start a container and fork its one sandbox.

        Raises:
            Unavailable: No container or sandbox can be had at the moment.
        """
        if self.memory.held_bytes() + _OVERHEAD_BYTES > self.memory.total_bytes:
            raise Unavailable(f"the containers together use all of their {self.memory.total_bytes >> 20} MiB")
        try:
            server = await self._start_server()
        except IndexError:  # the zygote's greeting arrived without its pidfd
            raise Unavailable(
                "the container runtime does not share this machine's kernel; use a --runtime that does (runc)"
            ) from None
        except OSError as error:  # no free descriptor, or the temporary folder is full
            raise Unavailable(f"cannot start a container: {error}") from error
        try:
            # Containers share only pages of files: the zygote's memory is the sandbox's own.
            return await Sandbox.open(server, self._grace_s, self.memory, shares=False)
        except BaseException as error:
            server.stop()
            if isinstance(error, ForkFailed | OSError):
                raise Unavailable(f"cannot fork a sandbox in a container: {error}") from error
            raise

    async def close(self) -> None:
        """Remove every container."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._folder is not None:  # first: a container that is being created cannot start without it
            self._folder.remove()
        if self._client is not None:
            with contextlib.suppress(Unavailable):
                await self._client.remove_containers(docker_labels.LABEL, docker_labels.is_own)
            self._client.close()

    async def _start_server(self) -> ForkServer:
        assert self._client is not None
        assert self._folder is not None
        self._started += 1
        spec = ContainerSpec(self._image, self._runtime, self._memory_bytes, self._settings)
        with SupervisorSocket(self._folder.path / str(self._started)) as listener:
            container = await self._client.start_container(spec.host_config(listener.folder), **spec.options())
            report, control = await self._connections(listener, container)
        server = await ForkServer.adopt(report, control, lambda: None)  # the rest of the container ends by itself
        if not self.versions:
            self.versions = server.versions
            known = {layer["name"] for layer in self.layers}
            self.layers += [layer for layer in server.layers if layer["name"] not in known]
        return server

    async def _connections(self, listener: SupervisorSocket, container: str) -> list[socket.socket]:
        """Return the connections of the container's reaper and zygote."""
        client = self._client
        assert client is not None
        connections: list[socket.socket] = []
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                connections.append(await listener.accept(lambda: client.is_running(container)))
                if not self.layers:
                    self.layers = [
                        *container_layers(peer_pid(connections[0])),
                        container_cgroup_layer(client.info, self._memory_bytes, PROCESSES),
                    ]
                connections.append(await listener.accept(lambda: client.is_running(container)))
        except BaseException as error:
            for connection in connections:
                connection.close()
            if isinstance(error, TimeoutError):
                raise Unavailable(f"a container did not connect within {_CONNECT_SECONDS:g} s") from error
            raise
        return connections

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            self.memory.watch()

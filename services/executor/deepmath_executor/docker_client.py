"""Asynchronous client of the local Docker engine, with its errors translated into advice.

The SDK blocks, so every call runs in a thread. Only this module imports the SDK, and only when it is used.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from deepmath.errors import InvalidRequest, Unavailable

_CALL_SECONDS = 60
_DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
_DEFAULT_PORT = 2375
_LOCAL_HOSTS = ("", "localhost", "127.0.0.1", "::1")
_REMOVED_OR_REMOVING = (404, 409)  # HTTP statuses of a removal

Response = TypeVar("Response")


class DockerClient:
    """A connection to the local engine at DOCKER_HOST. `info` is the engine's answer to `docker info`."""

    def __init__(self, client: Any, address: str, info: dict[str, Any]) -> None:
        self._client = client
        self._address = address
        self.info = info

    @classmethod
    async def connect(cls) -> Self:
        """Connect to the engine.

        Raises:
            InvalidRequest: DOCKER_HOST names an engine on another machine.
            Unavailable: The SDK is not installed, or the engine is unreachable or denies access.
        """
        address = os.environ.get("DOCKER_HOST") or _DEFAULT_ADDRESS
        parts = urlsplit(address)
        if parts.scheme not in ("unix", "tcp") or (parts.hostname or "") not in _LOCAL_HOSTS:
            raise InvalidRequest(
                f"DOCKER_HOST is {address}, but the engine must run on this machine: the executor measures and kills "
                "sandboxes through its own kernel; set it to unix:///PATH or tcp://127.0.0.1:PORT"
            )
        try:
            import docker
        except ImportError as error:
            raise Unavailable("backend docker needs the Docker SDK: pip install 'docker>=7.2,<8'") from error
        try:
            await asyncio.to_thread(_try_to_connect, address)
            client = await asyncio.to_thread(docker.APIClient, address, "auto", _CALL_SECONDS)
            info = await asyncio.to_thread(client.info)
        except (OSError, docker.errors.DockerException) as error:
            raise Unavailable(f"cannot use the Docker engine at {address}: {_reason(error)}") from error
        return cls(client, address, info)

    def require(self, runtime: str) -> None:
        """Require Linux containers with seccomp, and `runtime` unless it is empty.

        Raises:
            Unavailable: The engine lacks one of these.
        """
        if self.info["OSType"] != "linux" or not any("name=seccomp" in text for text in self.info["SecurityOptions"]):
            raise Unavailable(f"the Docker engine at {self._address} does not run Linux containers with seccomp")
        if runtime and runtime not in self.info["Runtimes"]:
            known = ", ".join(sorted(self.info["Runtimes"]))
            raise Unavailable(f"the Docker engine at {self._address} has no runtime {runtime!r}; available: {known}")

    async def image_id(self, name: str) -> str:
        """Return the id of the image `name`.

        Raises:
            Unavailable: The engine does not have the image, or is unreachable.
        """
        return str((await self._call(self._client.inspect_image, name))["Id"])

    async def start_container(self, host_config: dict[str, Any], **options: Any) -> str:
        """Create and start a container and return its id.

        Raises:
            Unavailable: The container cannot be started; nothing of it is left.
        """

        def start() -> str:  # in one thread call, so that a cancelled caller leaves nothing half done
            container = self._client.create_container(
                host_config=self._client.create_host_config(**host_config), use_config_proxy=False, **options
            )
            try:
                self._client.start(container["Id"])
            except BaseException:
                self._remove(container["Id"])
                raise
            return str(container["Id"])

        return await self._call(start)

    async def is_running(self, container: str) -> bool:
        """Return whether a container, by id, is running.

        Raises:
            Unavailable: The engine is unreachable.
        """
        found = await self._call(self._client.containers, filters={"id": container})
        return bool(found)

    async def remove_containers(self, label: str, matches: Callable[[str], bool]) -> None:
        """Kill and remove all containers, in any state, for whose value of `label` `matches` is true.

        Raises:
            Unavailable: The engine is unreachable.
        """
        found = await self._call(self._client.containers, all=True, filters={"label": label})
        await asyncio.gather(
            *(self._call(self._remove, container["Id"]) for container in found if matches(container["Labels"][label])),
        )

    def _remove(self, container: str) -> None:
        import docker

        try:
            self._client.remove_container(container, force=True)
        except docker.errors.APIError as error:
            if error.status_code not in _REMOVED_OR_REMOVING:
                raise

    async def _call(self, method: Callable[..., Response], *arguments: Any, **options: Any) -> Response:
        import docker

        try:
            return await asyncio.to_thread(method, *arguments, **options)
        except (OSError, docker.errors.DockerException) as error:
            raise Unavailable(f"the Docker engine at {self._address}: {_reason(error)}") from error

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _try_to_connect(address: str) -> None:
    """Connect a socket once: the SDK wraps the reason of a failure in three other exceptions.

    Raises:
        OSError: The connection failed.
    """
    parts = urlsplit(address)
    if parts.scheme == "unix":
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(parts.path)
    else:
        engine = (parts.hostname or "127.0.0.1", parts.port or _DEFAULT_PORT)
        socket.create_connection(engine, timeout=_CALL_SECONDS).close()


def _reason(error: Exception) -> str:
    import docker

    match error:
        case PermissionError():
            return "permission denied; run the executor as a member of the group that owns the socket (docker)"
        case FileNotFoundError():
            return "the socket does not exist; start the engine, or set DOCKER_HOST"
        case ConnectionRefusedError():
            return "connection refused; start the engine"
        case docker.errors.ImageNotFound():
            return f"{error.explanation}; build the executor's image with `make images`"
        case docker.errors.APIError():
            return str(error.explanation or error)
    return "no answer"

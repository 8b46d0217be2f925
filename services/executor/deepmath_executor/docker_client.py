"""The Docker engine: reached, checked, asked, and its errors put into words.

The SDK blocks, so that each of its calls goes through a thread. It is imported in this file alone, and when it is used.
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
_THIS_MACHINE = ("", "localhost", "127.0.0.1", "::1")
_GONE_OR_GOING = (404, 409)  # statuses of the engine's answer to a removal

Answer = TypeVar("Answer")


class DockerClient:
    """A connection to the engine that DOCKER_HOST names, on this machine. `about` is what it says of itself."""

    def __init__(self, client: Any, address: str, about: dict[str, Any]) -> None:
        self._client = client
        self._address = address
        self.about = about

    @classmethod
    async def reach(cls) -> Self:
        """Connect.

        Raises:
            InvalidRequest: DOCKER_HOST names another machine's engine.
            Unavailable: there is no SDK or no engine, or it must not be used; the message says what to do.
        """
        address = os.environ.get("DOCKER_HOST") or _DEFAULT_ADDRESS
        parts = urlsplit(address)
        if parts.scheme not in ("unix", "tcp") or (parts.hostname or "") not in _THIS_MACHINE:
            raise InvalidRequest(
                f"DOCKER_HOST is {address}: the engine has to be on this machine, because the executor measures and "
                "kills sandboxes through its own kernel; give unix:///PATH or tcp://127.0.0.1:PORT"
            )
        try:
            import docker
        except ImportError as error:
            raise Unavailable(
                "backend docker needs the docker SDK: pip install 'deepmath-services[executor-docker]'"
            ) from error
        try:
            await asyncio.to_thread(_knock, address)
            client = await asyncio.to_thread(docker.APIClient, address, "auto", _CALL_SECONDS)
            about = await asyncio.to_thread(client.info)
        except (OSError, docker.errors.DockerException) as error:
            raise Unavailable(f"the docker engine at {address} cannot be used: {_reason(error)}") from error
        return cls(client, address, about)

    def check(self, runtime: str) -> None:
        """Insist on Linux containers with seccomp, and on `runtime` if it is not empty.

        Raises:
            Unavailable: the engine does not have it.
        """
        if self.about["OSType"] != "linux" or not any("name=seccomp" in text for text in self.about["SecurityOptions"]):
            raise Unavailable(f"the docker engine at {self._address} has no Linux containers with seccomp")
        if runtime and runtime not in self.about["Runtimes"]:
            known = ", ".join(sorted(self.about["Runtimes"]))
            raise Unavailable(f"the docker engine at {self._address} has no runtime {runtime!r}; it has: {known}")

    async def find_image(self, name: str) -> str:
        """Return the id of the image `name`.

        Raises:
            Unavailable: the engine does not have it, or is gone.
        """
        return str((await self._call(self._client.inspect_image, name))["Id"])

    async def start_container(self, host: dict[str, Any], **options: Any) -> str:
        """Create and start a container and return its id; `host` is for its HostConfig.

        Raises:
            Unavailable: it cannot be had. Nothing of it is left then.
        """

        def start() -> str:  # in one piece, so that a caller who is cancelled leaves nothing half done
            host_config = self._client.create_host_config(**host)
            made = self._client.create_container(host_config=host_config, use_config_proxy=False, **options)
            try:
                self._client.start(made["Id"])
            except BaseException:
                self._remove(made["Id"])
                raise
            return str(made["Id"])

        return await self._call(start)

    async def runs(self, identity: str) -> bool:
        """Whether the container is there and runs.

        Raises:
            Unavailable: the engine is gone.
        """
        found = await self._call(self._client.containers, filters={"id": identity})
        return bool(found)

    async def remove(self, label: str, condemned: Callable[[str], bool]) -> None:
        """End and remove the containers, of any state, whose value of `label` is `condemned`.

        Raises:
            Unavailable: the engine is gone.
        """
        found = await self._call(self._client.containers, all=True, filters={"label": label})
        await asyncio.gather(
            *(self._call(self._remove, one["Id"]) for one in found if condemned(one["Labels"][label])),
        )

    def _remove(self, identity: str) -> None:
        import docker

        try:
            self._client.remove_container(identity, force=True)
        except docker.errors.APIError as error:
            if error.status_code not in _GONE_OR_GOING:
                raise

    async def _call(self, method: Callable[..., Answer], *arguments: Any, **options: Any) -> Answer:
        import docker

        try:
            return await asyncio.to_thread(method, *arguments, **options)
        except (OSError, docker.errors.DockerException) as error:
            raise Unavailable(f"the docker engine at {self._address}: {_reason(error)}") from error

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


def _knock(address: str) -> None:
    """Connect once by hand: the SDK buries the reason of a refusal under three exceptions.

    Raises:
        OSError: nobody is there.
    """
    parts = urlsplit(address)
    if parts.scheme == "unix":
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(parts.path)
    else:
        place = (parts.hostname or "127.0.0.1", parts.port or _DEFAULT_PORT)
        socket.create_connection(place, timeout=_CALL_SECONDS).close()


def _reason(error: Exception) -> str:
    import docker

    match error:
        case PermissionError():
            return "permission denied; run the executor as a member of the group that owns the socket (docker)"
        case FileNotFoundError():
            return "there is no such socket; start the engine, or set DOCKER_HOST"
        case ConnectionRefusedError():
            return "nobody answers; start the engine"
        case docker.errors.ImageNotFound():
            return f"{error.explanation}; build the executor's image with `make images`"
        case docker.errors.APIError():
            return str(error.explanation or error)
    return "it does not answer"

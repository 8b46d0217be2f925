"""UNIX socket of the supervisor, in a folder of its own, through which one container connects."""

import asyncio
import shutil
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

from deepmath.errors import Unavailable

SOCKET_NAME = "socket"
_POLL_SECONDS = 1.0


class SupervisorSocket:
    """A listener in `folder`, which is created. A context manager that closes the listener and removes the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        try:
            folder.chmod(0o755)  # its parent is private; the container's user may be another one
            self._listener = _listen(folder / SOCKET_NAME)
        except BaseException:
            self._remove_folder()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._remove_folder()

    async def accept(self, is_running: Callable[[], Awaitable[bool]]) -> socket.socket:
        """Return the next connection. `is_running` says whether the container still runs.

        Raises:
            Unavailable: The container ended.
        """
        accepting = asyncio.create_task(asyncio.get_running_loop().sock_accept(self._listener))
        try:
            while not (await asyncio.wait({accepting}, timeout=_POLL_SECONDS))[0]:
                if not await is_running():
                    raise Unavailable(
                        "a container ended before it connected; its image may be of another version (run `make "
                        "images`), or its runtime may not reach sockets of this machine"
                    )
            return accepting.result()[0]
        finally:
            accepting.cancel()

    def _remove_folder(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def peer_pid(connection: socket.socket) -> int:
    """Return the process id of the other end, in this process's pid namespace."""
    pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)


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

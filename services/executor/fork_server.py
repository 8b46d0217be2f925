"""The supervisor's side of the zygote: starts it, asks it for sandboxes, hears of their ends, replaces it."""

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from deepmath.errors import Unavailable
from services.executor.layers import Layer
from services.executor.zygote import MOST_MESSAGE_BYTES

log = logging.getLogger(__name__)

_START_SECONDS = 120  # on a cold disk the maths libraries take most of a minute
_ROOT = Path(__file__).resolve().parents[2]
# All that a sandbox's interpreter gets of an environment. One BLAS thread and a fixed hash seed make results repeat.
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",  # ctypes.util.find_library asks ldconfig
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONSAFEPATH": "1",
    "PYTHONPATH": str(_ROOT),
    **{f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL", "BLIS", "NUMEXPR")},
}


class ForkFailed(Exception):
    """The zygote is gone or cannot fork."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: `status` as of waitpid."""

    status: int
    cpu_ms: float
    peak_memory_bytes: int


@dataclass(slots=True)
class Child:
    """A sandbox that was asked for."""

    forked: asyncio.Future[int]
    """Its pidfd."""
    ended: asyncio.Future[Exit | None]
    """How it ended; None where the zygote went first and nobody knows."""


class ForkServer:
    """One zygote. `layers` and `versions` are what it said of itself when it started."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, hello: dict[str, Any]) -> None:
        self.layers: list[Layer] = hello["layers"]
        self.versions: dict[str, str] = hello["versions"]
        self.pid = process.pid
        self._process = process
        self._control = control
        self._children: dict[int, Child] = {}
        self._next_identity = 0
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(control, self._receive)

    @classmethod
    async def start(cls, refusal: str = "") -> Self:
        """Start a zygote and wait until it is ready: in namespaces of its own unless `refusal` says why not.

        Raises:
            Unavailable: it cannot be had; the message says why.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        command = [sys.executable, "-m", "services.executor.zygote", str(theirs.fileno()), str(os.getpid()), refusal]
        process = subprocess.Popen(  # noqa: ASYNC220 - it is our own program, and starting it does not block
            command,
            env=_ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C on a terminal is for the supervisor
        )
        theirs.close()
        loop = asyncio.get_running_loop()
        try:
            data = await asyncio.wait_for(loop.sock_recv(ours, MOST_MESSAGE_BYTES), _START_SECONDS)
            hello = json.loads(data) if data else {"unavailable": "the zygote ended while it started; see above"}
        except BaseException as error:
            process.kill()
            ours.close()
            if isinstance(error, TimeoutError):
                raise Unavailable(f"the zygote was not ready within {_START_SECONDS} s") from error
            raise
        if "unavailable" in hello:
            process.wait()
            ours.close()
            raise Unavailable(hello["unavailable"])
        return cls(process, ours, hello)

    def fork(self, control: int, stdout: int, stderr: int) -> Child:
        """Ask for a sandbox around these descriptors, which may be closed when this returns.

        Raises:
            ForkFailed: the zygote is gone; the future `forked` raises it where the zygote cannot fork.
        """
        if self.gone.done():
            raise ForkFailed("the zygote is gone")
        self._next_identity += 1
        identity = self._next_identity
        child = Child(self._loop.create_future(), self._loop.create_future())
        self._children[identity] = child
        try:
            request = json.dumps({"fork": identity}).encode()
            socket.send_fds(self._control, [request], [control, stdout, stderr])
        except OSError as error:
            del self._children[identity]
            raise ForkFailed(str(error)) from error
        return child

    def _receive(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, MOST_MESSAGE_BYTES, 1)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._lose()
            return
        message = json.loads(data)
        if "forked" in message and not descriptors:  # the kernel drops what there is no free descriptor for
            self._fail_fork(message["forked"], "no descriptor is free: raise the limit of open files")
        elif "forked" in message:
            self._settle_fork(message["forked"], descriptors[0])
        elif "refused" in message:
            child = self._children.pop(message["refused"])
            child.forked.set_exception(ForkFailed(f"fork: {message['reason']}"))
        else:
            child = self._children.pop(message["ended"])
            child.ended.set_result(Exit(message["status"], message["cpu_ms"], message["peak_memory_bytes"]))

    def _settle_fork(self, identity: int, pidfd: int) -> None:
        forked = self._children[identity].forked
        if forked.cancelled():  # whoever asked has gone; the sandbox ends by itself when nobody holds its socket
            os.close(pidfd)
        else:
            forked.set_result(pidfd)

    def _fail_fork(self, identity: int, reason: str) -> None:
        forked = self._children[identity].forked
        if not forked.cancelled():
            forked.set_exception(ForkFailed(reason))

    def _lose(self) -> None:
        self._loop.remove_reader(self._control)
        self._control.close()
        self._process.kill()
        self._process.wait()  # it was killed: it ends at once
        for child in self._children.values():
            if not child.forked.done():
                child.forked.set_exception(ForkFailed("the zygote died"))
            child.ended.set_result(None)
        self._children.clear()
        self.gone.set_result(None)

    def stop(self) -> None:
        """End the zygote and with it every sandbox."""
        if not self.gone.done():
            self._lose()

"""The supervisor's side of a zygote and its reaper: starts them, asks for sandboxes, hears of their ends."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from deepmath.errors import Unavailable
from deepmath.sandbox.isolation.layers import IsolationLayer
from deepmath.sandbox.supervisor.process_meter import ProcessMeter
from deepmath.sandbox.zygote_protocol import MOST_MESSAGE_BYTES, ZYGOTE_MODULE, ZygoteSettings

_START_SECONDS = 120  # on a cold disk the maths libraries take most of a minute
# What makes results repeat: a fixed hash seed, one BLAS thread.
SETTINGS = {
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONSAFEPATH": "1",
    "PYTHONBREAKPOINT": "0",  # a debugger would ask for a terminal, and for somebody's home
    **{f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL", "BLIS", "NUMEXPR")},
}
# All that a sandbox's interpreter gets of an environment.
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",  # ctypes.util.find_library asks ldconfig
    **SETTINGS,
}


class ForkFailed(Exception):
    """The zygote is gone or cannot fork."""


class PreloadFailed(Unavailable):
    """A module of the preload set cannot be imported, or its warm-up code failed."""


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
    """How it ended; None where the reaper went first and nobody knows."""


class ForkServer:
    """One zygote and its reaper.

    `layers` and `versions` are what the zygote said of itself when it started; `meter` measures it, and it began with
    `held_at_start` bytes of memory of its own. `gone` is done when it can fork no more; its sandboxes live on until
    they end or the server is stopped.
    """

    def __init__(
        self, report: socket.socket, control: socket.socket, hello: dict[str, Any], pidfd: int, end: Callable[[], None]
    ) -> None:
        self.layers: list[IsolationLayer] = hello["layers"]
        self.versions: dict[str, str] = hello["versions"]
        self._pidfd = pidfd
        self.meter = ProcessMeter(pidfd)
        (self.held_at_start,) = self.meter.status_bytes("RssAnon")
        self._report = report
        self._control = control
        self._end = end
        self._asked: dict[int, Child] = {}  # by the number of the request
        self._living: dict[int, Child] = {}  # by process id, as the zygote sees it
        self._unknown: dict[int, Exit] = {}  # ends that overtook the news of the fork
        self._next_identity = 0
        self._stopped = False
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(control, self._read_control)
        self._loop.add_reader(report, self._read_report)

    @classmethod
    async def start(
        cls, settings: ZygoteSettings, refusal: str = "", on_spawn: Callable[[int], None] = lambda _: None
    ) -> Self:
        """Start a tree and wait until it is ready: in namespaces of its own unless `refusal` says why not.

        `on_spawn` is given the process id of the launcher before that forks.

        Raises:
            Unavailable: it cannot be had; the message says why.
        """
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
        (report, _), (control, _) = pairs
        theirs = [end.fileno() for _, end in pairs]
        arguments = [*map(str, theirs), str(os.getpid()), refusal, settings.to_argument()]
        process = subprocess.Popen(  # noqa: ASYNC220 - it is our own program, and starting it does not block
            [sys.executable, "-P", "-m", ZYGOTE_MODULE, *arguments],
            env=_ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            pass_fds=theirs,
            start_new_session=True,  # Ctrl-C on a terminal is for the supervisor
        )
        for _, end in pairs:
            end.close()

        def kill() -> None:
            process.kill()
            process.wait()  # it ends at once

        on_spawn(process.pid)
        return await cls.adopt(report, control, kill)

    @classmethod
    async def adopt(cls, report: socket.socket, control: socket.socket, end: Callable[[], None]) -> Self:
        """Take over a tree that was started otherwise, once it is ready, by the sockets to its reaper and its zygote.

        `end` ends what is left of it. It is called once: when the tree fails to start, has lost its reaper, or is
        stopped.

        Raises:
            Unavailable: it does not come up; the message says why.
        """
        for ours in (report, control):
            ours.setblocking(False)
        try:
            async with asyncio.timeout(_START_SECONDS):
                hello, pidfds = await _hear_hello(control)
            if "preload_failed" in hello:
                raise PreloadFailed(f"the preload set could not be loaded: {hello['preload_failed']}")
            if "unavailable" in hello:
                raise Unavailable(hello["unavailable"])
            return cls(report, control, hello, pidfds[0], end)
        except BaseException as error:
            end()
            report.close()
            control.close()
            if isinstance(error, TimeoutError):
                raise Unavailable(f"the zygote was not ready within {_START_SECONDS} s") from error
            if isinstance(error, OSError):
                raise Unavailable(f"the zygote died while it started: {error}") from error
            raise

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
        self._asked[identity] = child
        try:
            request = json.dumps({"fork": identity}).encode()
            socket.send_fds(self._control, [request], [control, stdout, stderr])
        except OSError as error:
            del self._asked[identity]
            raise ForkFailed(str(error)) from error
        return child

    def _read_control(self) -> None:
        try:
            data, descriptors = _hear(self._control)
        except BlockingIOError:
            return
        if not data:
            self.retire()
            return
        message = json.loads(data)
        if "refused" in message:
            _fail(self._asked.pop(message["refused"]), f"fork: {message['reason']}")
            return
        child = self._asked.pop(message["forked"])
        if not descriptors:  # the kernel drops what there is no free descriptor for
            _fail(child, "no descriptor is free: raise the limit of open files")
        elif child.forked.cancelled():  # whoever asked has gone
            _kill_and_close(descriptors[0])
        else:
            child.forked.set_result(descriptors[0])
        self._living[message["pid"]] = child
        if end := self._unknown.pop(message["pid"], None):
            self._settle(message["pid"], end)

    def _read_report(self) -> None:
        try:
            data, _ = _hear(self._report)
        except BlockingIOError:
            return
        if not data:
            self.stop()
            return
        message = json.loads(data)
        end = Exit(message["status"], message["cpu_ms"], message["peak_memory_bytes"])
        if message["ended"] in self._living:
            self._settle(message["ended"], end)
        else:
            self._unknown[message["ended"]] = end

    def _settle(self, pid: int, end: Exit) -> None:
        self._living.pop(pid).ended.set_result(end)
        self._stop_if_done()

    def retire(self) -> None:
        """Let the zygote go, which forks no more. The tree ends with the last of its sandboxes."""
        if self.gone.done():
            return
        self._loop.remove_reader(self._control)
        self._control.close()
        for child in self._asked.values():
            _fail(child, "the zygote is gone")
        self._asked.clear()
        self.gone.set_result(None)
        self._stop_if_done()

    def _stop_if_done(self) -> None:
        if self.gone.done() and not self._living:
            self.stop()

    def stop(self) -> None:
        """End the tree and with it every sandbox."""
        if self._stopped:
            return
        self._stopped = True
        self.retire()
        self._loop.remove_reader(self._report)
        self._report.close()
        self._end()
        self.meter.close()
        os.close(self._pidfd)
        for child in self._living.values():
            child.ended.set_result(None)
        self._living.clear()


def _hear(connection: socket.socket) -> tuple[bytes, list[int]]:
    """Return the next message and its descriptor if it has one; an empty one where the other side has hung up."""
    try:
        data, descriptors, _, _ = socket.recv_fds(connection, MOST_MESSAGE_BYTES, 1)
    except ConnectionError:
        return b"", []
    return data, descriptors


async def _hear_hello(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(control, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(control)
    data, pidfds = _hear(control)
    return json.loads(data) if data else {"unavailable": "the zygote ended while it started; see above"}, pidfds


def _fail(child: Child, reason: str) -> None:
    if not child.forked.done():
        child.forked.set_exception(ForkFailed(reason))


def _kill_and_close(pidfd: int) -> None:
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    os.close(pidfd)

"""Supervisor's side of a zygote and its reaper: starts them, requests forks, receives the exits of sandboxes."""

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
from deepmath.sandbox.isolation import rlimits
from deepmath.sandbox.isolation.layers import IsolationLayer
from deepmath.sandbox.supervisor.process_meter import ProcessMeter
from deepmath.sandbox.zygote_protocol import MOST_MESSAGE_BYTES, ZYGOTE_MODULE, ZygoteSettings

_START_SECONDS = 120  # from a cold disk the maths libraries take most of a minute
_END_SECONDS = 5.0  # for the kernel to free the memory of all sandboxes
# A fixed hash seed and one BLAS thread make results reproducible.
INTERPRETER_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONSAFEPATH": "1",
    "PYTHONBREAKPOINT": "0",  # a debugger would look for a terminal
    # Values for libraries that ask; the C library would look for files that a sandbox does not have.
    "HOME": "/nonexistent",
    "LOGNAME": "nobody",
    "USER": "nobody",
    "TZ": "UTC0",
    "PYTHONTZPATH": "",
    **{f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL", "BLIS", "NUMEXPR")},
}
# The whole environment of a zygote: nothing is inherited from the supervisor.
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",  # ctypes.util.find_library runs ldconfig
    **INTERPRETER_ENVIRONMENT,
}


class ForkFailed(Exception):
    """The zygote is gone or cannot fork."""


class PreloadFailed(Unavailable):
    """A module of the preload set cannot be imported, its warm-up code failed, or an allowed module is missing."""


@dataclass(frozen=True, slots=True)
class ProcessExit:
    """Exit of a sandbox: wait status, processor time and peak memory, as the kernel reports them."""

    status: int
    cpu_ms: float
    peak_memory_bytes: int


@dataclass(slots=True)
class ForkedSandbox:
    """Results of a fork request.

    Attributes:
        forked: pidfd of the sandbox.
        ended: Its exit; None if the reaper died first.
    """

    forked: asyncio.Future[int]
    ended: asyncio.Future[ProcessExit | None]


class ForkServer:
    """One zygote and its reaper.

    Attributes:
        layers: Isolation layers, as reported by the zygote.
        versions: Versions of Python and of the preloaded packages, by name.
        meter: Measures the zygote.
        memory_at_start: Private memory of the zygote when it was ready, in bytes.
        gone: Done when the zygote can fork no more. Its sandboxes live on until they end or the server is stopped.
        stopped: Done when no process is left; None before `stop`.
    """

    def __init__(
        self,
        report: socket.socket,
        control: socket.socket,
        greeting: dict[str, Any],
        pidfd: int,
        end: Callable[[], None],
    ) -> None:
        self.layers: list[IsolationLayer] = greeting["layers"]
        self.versions: dict[str, str] = greeting["versions"]
        self._pidfd = pidfd
        self.meter = ProcessMeter(pidfd)
        (self.memory_at_start,) = self.meter.status_bytes("RssAnon")
        self._report = report
        self._control = control
        self._end = end
        self._requested: dict[int, ForkedSandbox] = {}  # by the number of the request
        self._running: dict[int, ForkedSandbox] = {}  # by process id in the zygote's pid namespace
        self._early_exits: dict[int, ProcessExit] = {}  # reported before the reply to the fork request
        self._next_identity = 0
        self.stopped: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(control, self._read_control)
        self._loop.add_reader(report, self._read_report)

    @classmethod
    async def start(
        cls, settings: ZygoteSettings, refusal: str = "", on_spawn: Callable[[int], None] = lambda _: None
    ) -> Self:
        """Start a zygote and wait until it is ready.

        Args:
            settings: Preload set and allowed modules.
            refusal: Reason for not entering namespaces; empty to enter them.
            on_spawn: Called with the process id of the launcher before the launcher forks.

        Raises:
            Unavailable: The zygote could not be started; the message says why.
        """
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
        (report, _), (control, _) = pairs
        child_ends = [end.fileno() for _, end in pairs]
        arguments = [*map(str, child_ends), str(os.getpid()), refusal, settings.to_argument()]
        with rlimits.large_stack():
            process = subprocess.Popen(  # noqa: ASYNC220 - starting our own program does not block
                [sys.executable, "-P", "-m", ZYGOTE_MODULE, *arguments],
                env=_ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                pass_fds=child_ends,
                start_new_session=True,  # Ctrl-C on a terminal must reach the supervisor only
            )
        for _, end in pairs:
            end.close()

        on_spawn(process.pid)
        return await cls.adopt(report, control, lambda: _end(process))

    @classmethod
    async def adopt(cls, report: socket.socket, control: socket.socket, end: Callable[[], None]) -> Self:
        """Take over a zygote that was started elsewhere, by the sockets to its reaper and to itself.

        `end` waits until the process tree has ended, which closing the sockets causes. It is called once, in another
        thread: when the start fails, when the reaper dies, or when the server is stopped.

        Raises:
            Unavailable: The zygote did not become ready; the message says why.
        """
        for connection in (report, control):
            connection.setblocking(False)
        try:
            async with asyncio.timeout(_START_SECONDS):
                greeting, pidfds = await _receive_greeting(control)
            if "preload_failed" in greeting:
                raise PreloadFailed(greeting["preload_failed"])
            if "unavailable" in greeting:
                raise Unavailable(greeting["unavailable"])
            return cls(report, control, greeting, pidfds[0], end)
        except BaseException as error:
            report.close()
            control.close()
            await asyncio.get_running_loop().run_in_executor(None, end)
            if isinstance(error, TimeoutError):
                raise Unavailable(f"the zygote was not ready within {_START_SECONDS} s") from error
            if isinstance(error, OSError):
                raise Unavailable(f"the zygote died during its start: {error}") from error
            raise

    def fork(self, control: int, stdout: int, stderr: int) -> ForkedSandbox:
        """Request a sandbox with these descriptors, which may be closed when this returns.

        Raises:
            ForkFailed: The zygote is gone. The future `forked` raises it if the zygote cannot fork.
        """
        if self.gone.done():
            raise ForkFailed("the zygote is gone")
        self._next_identity += 1
        identity = self._next_identity
        child = ForkedSandbox(self._loop.create_future(), self._loop.create_future())
        self._requested[identity] = child
        try:
            request = json.dumps({"fork": identity}).encode()
            socket.send_fds(self._control, [request], [control, stdout, stderr])
        except OSError as error:
            del self._requested[identity]
            raise ForkFailed(str(error)) from error
        return child

    def _read_control(self) -> None:
        try:
            data, descriptors = _receive(self._control)
        except BlockingIOError:
            return
        if not data:
            self.retire()
            return
        message = json.loads(data)
        if "refused" in message:
            _fail(self._requested.pop(message["refused"]), f"fork: {message['reason']}")
            return
        child = self._requested.pop(message["forked"])
        if not descriptors:  # the kernel drops a received descriptor if the limit of open files is reached
            _fail(child, "no free file descriptor; raise the limit of open files")
        elif child.forked.cancelled():
            _kill_and_close(descriptors[0])
        else:
            child.forked.set_result(descriptors[0])
        self._running[message["pid"]] = child
        if process_exit := self._early_exits.pop(message["pid"], None):
            self._set_ended(message["pid"], process_exit)

    def _read_report(self) -> None:
        try:
            data, _ = _receive(self._report)
        except BlockingIOError:
            return
        if not data:
            self.stop()
            return
        message = json.loads(data)
        process_exit = ProcessExit(message["status"], message["cpu_ms"], message["peak_memory_bytes"])
        if message["ended"] in self._running:
            self._set_ended(message["ended"], process_exit)
        else:
            self._early_exits[message["ended"]] = process_exit

    def _set_ended(self, pid: int, process_exit: ProcessExit) -> None:
        self._running.pop(pid).ended.set_result(process_exit)
        self._stop_if_done()

    def retire(self) -> None:
        """Let the zygote exit; it forks no more. The reaper ends with the last of its sandboxes."""
        if self.gone.done():
            return
        self._loop.remove_reader(self._control)
        self._control.close()
        for child in self._requested.values():
            _fail(child, "the zygote is gone")
        self._requested.clear()
        self.gone.set_result(None)
        self._stop_if_done()

    def _stop_if_done(self) -> None:
        if self.gone.done() and not self._running:
            self.stop()

    def stop(self) -> None:
        """End zygote, reaper and every sandbox; `stopped` is done when they have ended."""
        if self.stopped is not None:
            return
        self.stopped = self._loop.run_in_executor(None, self._end)
        self.retire()
        self._loop.remove_reader(self._report)
        self._report.close()
        self.meter.close()
        os.close(self._pidfd)
        for child in self._running.values():
            child.ended.set_result(None)
        self._running.clear()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for the launcher, which ends with the reaper; kill it if that takes too long.

    The reaper takes every process below it along. Those of a launcher that is killed would be left to process 1 of the
    container, which may not reap them.
    """
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """Return the next message and its descriptor, if any; an empty message if the peer has closed its end."""
    try:
        data, descriptors, _, _ = socket.recv_fds(connection, MOST_MESSAGE_BYTES, 1)
    except ConnectionError:
        return b"", []
    return data, descriptors


async def _receive_greeting(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(control, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(control)
    data, pidfds = _receive(control)
    return json.loads(data) if data else {"unavailable": "the zygote exited during its start; see above"}, pidfds


def _fail(child: ForkedSandbox, reason: str) -> None:
    if not child.forked.done():
        child.forked.set_exception(ForkFailed(reason))


def _kill_and_close(pidfd: int) -> None:
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    os.close(pidfd)

"""Services as child processes, started on unix sockets and stopped with a block."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from deepmath.clients.credentials import service_options
from deepmath.errors import InvalidRequest, Unavailable
from deepmath.local_stack.service_distributions import check_installed
from deepmath.observability.log_line import message_of
from deepmath.observability.output_relay import RelaySettings
from deepmath.owned_folders import OwnedFolder

BACKGROUND = 10
"""Niceness of services beside a process that is to come first."""

_READY = "serving on "
# Runs write checkpoints. vLLM waits five seconds for its own processes, and its libraries take time to exit.
_STOP_TIMEOUT_S = {"trainer": 130.0, "generator": 30.0}
_DEFAULT_STOP_TIMEOUT_S = 10.0
_SERVICE_START = Path(__file__).with_name("service_start.py")
_MOST_SOCKET_BYTES = 107  # unix(7)
_LOG_TAIL_CHARACTERS = 4000  # of a service's log, for an error message
_LAST_LINES_S = 1.0  # for the relay of a log to write them


class LocalServices:
    """Starts services, and stops them when the block ends. An asynchronous context manager.

    Their logs are files of bounded size in the folder `logs`, by default `folder`, or go to this process's stderr with
    `show_logs`. A higher `niceness` leaves the processors to others that want them.
    """

    def __init__(self, show_logs: bool = False, logs: Path | None = None, niceness: int = 0) -> None:
        self._show_logs = show_logs
        self._logs = logs
        self._niceness = niceness
        self._folder: OwnedFolder | None = None
        self.processes: list[asyncio.subprocess.Process] = []  # in the order of their start
        self._outputs: list[asyncio.StreamWriter] = []
        self._drains: list[asyncio.Task[None]] = []
        self._relays: list[asyncio.subprocess.Process] = []
        self._stop_timeouts: list[float] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._stop()
        finally:
            if self._folder is not None:
                self._folder.remove()

    async def _stop(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        await asyncio.gather(*map(_wait_or_kill, self.processes, self._stop_timeouts))
        for output in self._outputs:  # which an orphaned child of a killed service may hold open
            output.close()
        await asyncio.gather(*self._drains, return_exceptions=True)  # cancelled if SIGTERM ends this process
        await asyncio.gather(*(_wait_or_kill(relay, _LAST_LINES_S) for relay in self._relays))

    async def wait(self) -> None:
        """Wait until a service exits, which none should.

        Raises:
            Unavailable: Always.
        """
        waits = [asyncio.create_task(process.wait()) for process in self.processes]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        raise Unavailable("a service of the local stack exited; see its last log lines above")

    @property
    def folder(self) -> Path:
        """A temporary folder of this block for sockets and logs.

        It is private, since whoever reaches the executor's socket can run code in its sandboxes.
        """
        if self._folder is None:
            self._folder = _private_folder()
        return self._folder.path

    def socket(self, name: str) -> str:
        """Return the default address of the service `name`.

        Raises:
            InvalidRequest: The temporary folder's path is too long for a socket.
        """
        path = self.folder / f"{name}.sock"
        if len(os.fsencode(path)) > _MOST_SOCKET_BYTES:
            raise InvalidRequest(
                f"{path} is over {_MOST_SOCKET_BYTES} bytes, the maximum of a socket's path; set TMPDIR to a folder "
                "with a shorter one"
            )
        return f"unix:{path}"

    async def start(self, name: str, *options: str, listen: str | None = None) -> str:
        """Start a service, by default on a unix socket of this block, and return the address that it serves on.

        Raises:
            Unavailable: The service is not installed, or exits before it serves; the message has its reason.
        """
        check_installed(name)
        log = (self._logs or self.folder) / f"{name}.log"
        options = ("--listen", listen or self.socket(name), *service_options(), *options)
        parent_end, child_end = socket.socketpair()
        lines, output = await asyncio.open_connection(sock=parent_end)
        self._outputs.append(output)
        relay = None
        with child_end, ExitStack() as descriptors:
            if self._show_logs:
                errors = None
            else:
                relay, errors = await _start_relay(log, descriptors)
                self._relays.append(relay)
            process = await _spawn(name, options, child_end, errors, self._niceness)
        self.processes.append(process)
        self._stop_timeouts.append(_STOP_TIMEOUT_S.get(name, _DEFAULT_STOP_TIMEOUT_S))
        while line := await lines.readline():
            if (message := message_of(line)).startswith(_READY):
                self._drains.append(asyncio.create_task(_drain(lines)))
                return message.removeprefix(_READY).strip()
        await process.wait()
        if relay:
            await _wait_or_kill(relay, _LAST_LINES_S)
        raise Unavailable(f"the {name} did not start: {_last_log_line(log)}")


async def _start_relay(log: Path, descriptors: ExitStack) -> tuple[asyncio.subprocess.Process, int]:
    """Start a relay that writes to the file `log`; return it and its input, which `descriptors` closes."""
    reader, writer = os.pipe()
    descriptors.callback(os.close, reader)
    descriptors.callback(os.close, writer)
    settings = RelaySettings(stderr=reader, forward=False, file=str(log))
    nowhere = asyncio.subprocess.DEVNULL
    relay = await asyncio.create_subprocess_exec(
        *settings.command(),
        stdin=nowhere,
        stdout=nowhere,
        stderr=nowhere,
        pass_fds=settings.inherited,
        start_new_session=True,
    )
    return relay, writer


def _private_folder() -> OwnedFolder:
    try:
        return OwnedFolder("deepmath")
    except OSError as error:
        raise Unavailable(f"cannot create a folder for the stack's sockets: {error}; set TMPDIR") from error


async def _spawn(
    name: str, options: Sequence[str], output: socket.socket, errors: int | None, niceness: int
) -> asyncio.subprocess.Process:
    service = (sys.executable, "-P", "-m", f"deepmath_{name}", *options)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(_SERVICE_START), str(os.getpid()), str(niceness), *service),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output.fileno(),
        stderr=errors,
        start_new_session=True,  # Ctrl-C reaches this process only, which stops the services in order
    )


async def _drain(stream: asyncio.StreamReader) -> None:
    """Discard output, so that a service never blocks on a full pipe."""
    while await stream.read(1 << 16):
        pass


async def _wait_or_kill(process: asyncio.subprocess.Process, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _last_log_line(log: Path) -> str:
    lines = log.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:].strip().splitlines() if log.exists() else []
    return message_of(lines[-1].encode()) if lines else "it gave no reason (start it with `deepmath up` to see its log)"

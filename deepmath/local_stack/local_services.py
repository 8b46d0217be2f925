"""Services as processes of this machine, for as long as a block lasts."""

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Self

from deepmath.clients.credentials import service_options
from deepmath.errors import Unavailable

_READY = "serving on "
_STOP_PATIENCE_S = {"trainer": 130.0}  # its runs write checkpoints
_USUAL_PATIENCE_S = 10.0
_END_WITH_PARENT = Path(__file__).with_name("parent_death.py")
_QUOTED_LOG = 4000  # characters of a service's log that an error may quote from


class LocalServices:
    """Starts services and ends them with its block. An asynchronous context manager."""

    def __init__(self, show_logs: bool = False) -> None:
        self._show_logs = show_logs
        self._folder: Path | None = None
        self.processes: list[asyncio.subprocess.Process] = []  # in the order of their start
        self._outputs: list[asyncio.StreamWriter] = []
        self._ends: list[asyncio.Task[None]] = []
        self._patience: list[float] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        await asyncio.gather(*map(_ended, self.processes, self._patience))
        for output in self._outputs:  # which a process of a service that was killed may hold open
            output.close()
        await asyncio.gather(*self._ends)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def wait(self) -> None:
        """Wait until a service ends, which it should not.

        Raises:
            Unavailable: always.
        """
        waits = [asyncio.create_task(process.wait()) for process in self.processes]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        raise Unavailable("a service of the local stack has ended; its last words are above")

    @property
    def folder(self) -> Path:
        """A folder of this block, for sockets and logs.

        Short and private: a socket's path may have 107 bytes, and who can reach it can run code in our sandbox.
        """
        if self._folder is None:
            self._folder = _private_folder()
        return self._folder

    def socket(self, name: str) -> str:
        """Return the address that the service `name` gets where no other is asked for."""
        return f"unix:{self.folder}/{name}.sock"

    async def start(self, name: str, *options: str, listen: str | None = None) -> str:
        """Start a service, by default on a unix socket of this block, and return the address that it serves on.

        Raises:
            Unavailable: it ends before it serves; with the reason that it gave.
        """
        log = self.folder / f"{name}.log"
        options = ("--listen", listen or self.socket(name), *service_options(), *options)
        ours, its = socket.socketpair()
        lines, output = await asyncio.open_connection(sock=ours)
        self._outputs.append(output)
        with its, log.open("wb") as errors:
            process = await _spawn(name, options, its, None if self._show_logs else errors)
        self.processes.append(process)
        self._patience.append(_STOP_PATIENCE_S.get(name, _USUAL_PATIENCE_S))
        while line := (await lines.readline()).decode(errors="replace"):
            if line.startswith(_READY):
                self._ends.append(asyncio.create_task(_discard(lines)))
                return line.removeprefix(_READY).strip()
        await process.wait()
        raise Unavailable(f"the {name} did not start: {_last_words(log)}")


def _private_folder() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="deepmath-"))
    except OSError as error:
        raise Unavailable(f"no folder for the stack's sockets can be made: {error}; set TMPDIR") from error


async def _spawn(
    name: str, options: Sequence[str], output: socket.socket, errors: IO[bytes] | None
) -> asyncio.subprocess.Process:
    service = (sys.executable, "-P", "-m", f"deepmath_{name}", *options)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(_END_WITH_PARENT), str(os.getpid()), *service),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output.fileno(),
        stderr=errors,
        start_new_session=True,  # Ctrl-C is for us; we end them in order
    )


async def _discard(stream: asyncio.StreamReader) -> None:
    """Read on, so that a service that prints is never blocked."""
    while await stream.read(1 << 16):
        pass


async def _ended(process: asyncio.subprocess.Process, patience_s: float) -> None:
    try:
        async with asyncio.timeout(patience_s):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace")[-_QUOTED_LOG:].strip().splitlines()
    return lines[-1] if lines else "it gave no reason (start it with `deepmath up` to see its log)"

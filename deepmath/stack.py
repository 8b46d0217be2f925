"""The local stack: the real services as processes of this machine, for as long as a block lasts."""

import asyncio
import ctypes
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Self

from deepmath.errors import InvalidRequest, Unavailable

EMBEDDED_MODEL = Path(__file__).resolve().parent.parent / "models" / "tiny-math"
# It is small: float32 costs nothing, and compiling it takes longer than it saves.
EMBEDDED_OPTIONS = ("--dtype", "float32", "--eager")

_READY = "serving on "
_STOP_PATIENCE_S = 10.0
_PR_SET_PDEATHSIG = 1
_QUOTED_LOG = 4000  # characters of a service's log that an error may quote from


class LocalStack:
    """An executor, and with a `model` a generator too. An asynchronous context manager.

    `executor` and `generator` are their addresses: unix sockets of this stack, unless `listen` says otherwise by the
    service's name. An `executor` that is given is used in place of one of our own.

    Entering raises Unavailable where a service ends before it serves, with the reason that it gave.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        executor: str | None = None,
        listen: dict[str, str] | None = None,
        arguments: dict[str, Sequence[str]] | None = None,
        show_logs: bool = False,
    ) -> None:
        self._model = model
        self._own_executor = executor is None
        # Short and private: a socket's path may have 107 bytes, and who can reach it can run code in our sandbox.
        self._folder = _private_folder() if self._own_executor or model else None
        listen = listen or {}
        self.executor = executor or listen.get("executor", f"unix:{self._folder}/executor.sock")
        self.generator = listen.get("generator", f"unix:{self._folder}/generator.sock")
        if self.executor.endswith(":0"):
            raise InvalidRequest("give the executor a port of its own: the generator has to know it")
        self._arguments = arguments or {}
        self._show_logs = show_logs
        self.processes: list[asyncio.subprocess.Process] = []  # in the order of their start
        self._readers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        starts = []
        if self._own_executor:
            starts.append(self._start("executor", "--listen", self.executor))
        if self._model:
            options = ("--listen", self.generator, "--executor", self.executor, "--model", self._model)
            starts.append(self._start("generator", *options))
        try:
            addresses = await asyncio.gather(*starts)
            self.generator = addresses[-1] if self._model else self.generator  # with the port that it got for port 0
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        await asyncio.gather(*map(_ended, self.processes))
        await asyncio.gather(*self._readers)
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

    async def _start(self, name: str, *options: str) -> str:
        """Start a service and return the address that it serves on."""
        assert self._folder is not None
        log = self._folder / f"{name}.log"
        with log.open("wb") as file:
            process = await _spawn(name, [*options, *self._arguments.get(name, ())], None if self._show_logs else file)
        self.processes.append(process)
        assert process.stdout
        while line := (await process.stdout.readline()).decode(errors="replace"):
            if line.startswith(_READY):
                self._readers.append(asyncio.create_task(_discard(process.stdout)))
                return line.removeprefix(_READY).strip()
        await process.wait()
        raise Unavailable(f"the {name} did not start: {_last_words(log)}")


def _private_folder() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="deepmath-"))
    except OSError as error:
        raise Unavailable(f"no folder for the stack's sockets can be made: {error}; set TMPDIR") from error


async def _spawn(name: str, options: Sequence[str], errors: IO[bytes] | None) -> asyncio.subprocess.Process:
    us = os.getpid()

    def end_with_us() -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != us:  # too late for the signal
            os._exit(1)

    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"services.{name}", *options),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
        start_new_session=True,  # Ctrl-C is for us; we end them in order
        preexec_fn=end_with_us,
    )


async def _discard(stream: asyncio.StreamReader) -> None:
    """Read on, so that a service that prints is never blocked."""
    while await stream.read(1 << 16):
        pass


async def _ended(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(_STOP_PATIENCE_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace")[-_QUOTED_LOG:].strip().splitlines()
    return lines[-1] if lines else "it gave no reason (start it with `deepmath up` to see its log)"

"""Executor services in subprocesses, with plain gRPC sessions to run snippets."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.executor.v1 import executor_pb2_grpc as rpc
from deepmath.observability.log_line import message_of
from deepmath.rpc.metadata import CLIENT_NAME
from support.docker_engine import Deployment
from support.readable_python import readable_by_everyone

# Generous, because a busy machine may not schedule a process for a while. benchmarks/executor.py measures the latency.
GRACE_MS = 500  # the default is shorter
LATE_MS = 3000  # a snippet that ends within this time after its limit ended because of the limit
SMALL_SESSIONS = 6
SECRET = "hunter2"


class Session:
    """A session that numbers its snippets, without replay or retries."""

    def __init__(
        self, stub: rpc.ExecutorServiceStub, seed: int = 0, session_id: str = "test", client: str = ""
    ) -> None:
        self.stream = stub.Session(metadata=((CLIENT_NAME, client),))
        self.sequence = 0
        self._opening = pb.OpenSession(seed=seed, session_id=session_id)

    async def open(self) -> pb.SessionOpened:
        await self.stream.write(pb.SessionRequest(open=self._opening))
        return (await self.read()).opened

    async def read(self) -> pb.SessionResponse:
        response = await self.stream.read()
        assert isinstance(response, pb.SessionResponse), "the stream ended"
        return response

    async def send(self, code: str, sequence: int, stdin: str = "", **limits: int) -> None:
        snippet = pb.RunSnippet(sequence=sequence, code=code, limits=pb.Limits(**limits), stdin=stdin)
        await self.stream.write(pb.SessionRequest(run=snippet))

    async def run(self, code: str, stdin: str = "", **limits: int) -> pb.SnippetResult:
        self.sequence += 1
        await self.send(code, self.sequence, stdin, **limits)
        return (await self.read()).result


@dataclass
class Executor:
    """A running executor: its process, log and stub."""

    process: asyncio.subprocess.Process
    channel: grpc.aio.Channel
    log: Path
    startup_lines: list[str]
    """Its output before `serving on`."""
    pid: int
    sandboxes_are_cheap: bool = True

    @property
    def stub(self) -> rpc.ExecutorServiceStub:
        return rpc.ExecutorServiceStub(self.channel)

    async def execute(
        self, code: str, seed: int = 0, client: str = "", stdin: str = "", **limits: int
    ) -> pb.SnippetResult:
        request = pb.ExecuteRequest(code=code, seed=seed, limits=pb.Limits(**limits), stdin=stdin)
        return (await self.stub.Execute(request, metadata=((CLIENT_NAME, client),))).result

    @asynccontextmanager
    async def session(self, seed: int = 0, session_id: str = "test", client: str = "") -> AsyncIterator[Session]:
        session = Session(self.stub, seed, session_id, client)
        await session.open()
        try:
            yield session
        finally:
            session.stream.cancel()

    async def load(self) -> pb.Load:
        return (await self.stub.GetInfo(pb.GetInfoRequest())).load

    async def until(self, holds: Callable[[pb.Load], bool], seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not holds(await self.load()):  # noqa: ASYNC110 - the event is in another process
                await asyncio.sleep(0.02)

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith('{"time"')]

    async def audit_of(self, session_id: str | None = None, count: int = 1) -> list[dict[str, Any]]:
        """Return the audit lines of a session, or all, once there are `count`: they are written after the result."""
        async with asyncio.timeout(10):
            while len(found := [line for line in self.audit() if session_id in (None, line["session"])]) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return found

    def reaper(self) -> int:
        """Return the parent of zygote and sandboxes: the only process all of whose children are childless."""
        return next(pid for pid in descendants(self.pid) if (below := children(pid)) and not children(below[0]))

    def zygote(self) -> int:
        """Return the process that forks sandboxes."""
        return children(self.reaper())[0]

    def sandboxes(self) -> list[int]:
        """Return the living sandboxes."""
        return children(self.reaper())[1:]


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):  # it has ended, before the file was opened or after
        return []


def descendants(pid: int) -> list[int]:
    found = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


@asynccontextmanager
async def running(
    folder: Path,
    *options: str,
    preload: str = "none",
    inside: Deployment | None = None,
    stderr: int | None = None,
    container: Sequence[str] = (),
) -> AsyncIterator[Executor]:
    """Run an executor with `options`, in the container `inside` if given, for the block.

    `container` holds more options of its engine.

    By default it starts without the maths libraries, which saves seconds; snippets can still import them. Its log is a
    file, unless the descriptor `stderr` is given.
    """
    log = folder / "log"
    program = inside.command(folder, *container) if inside else (sys.executable, "-P", "-m", "deepmath_executor")
    command = [*program, f"--listen=unix:{folder}/socket", f"--preload={preload}", *options]
    if "--level=pod" in options and not inside:
        command = readable_by_everyone(command, folder)
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=stderr or file, env=os.environ | {"A_SECRET": SECRET}
        )
    try:
        startup_lines = []
        assert process.stdout
        while not (line := message_of(await process.stdout.readline())).startswith("serving on"):
            assert line, log.read_text()
            startup_lines.append(line)
        async with grpc.aio.insecure_channel(f"unix:{folder}/socket") as channel:
            pid = inside.host_pid(folder) if inside else process.pid
            yield Executor(process, channel, log, startup_lines, pid)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await process.wait()


@dataclass
class Ended:
    """Exit status and output of a command."""

    status: int
    out: str
    err: str


async def run_module(*options: str) -> Ended:
    """Run `python -m deepmath_executor`, by default without the maths libraries, until it exits."""
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-P", "-m", "deepmath_executor", "--preload=none", *options]
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    return Ended(await process.wait(), out.decode(), err.decode())


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)

"""The MCP server on the standard streams of `deepmath mcp`, for the client that has started it."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any, TextIO, cast

import anyio
from mcp.server.stdio import stdio_server

from deepmath.clients import ExecutorSession, GeneratorClient
from deepmath.executor.v1 import executor_pb2
from deepmath.generator.v1 import generator_pb2
from deepmath.integrations.mcp.tool_calls import CLEANUP, PYTHON, SOLVE, RequestContext, SolveArguments
from deepmath.integrations.mcp.tool_server import ToolServer
from deepmath.local_stack.detached_stack import find_detached
from deepmath.local_stack.service_distributions import installed_version
from deepmath.sdk.service_access import ServiceAccess, ServiceChoice


class LocalBackend:
    """The services of one client, with one session: given ones, those of the detached stack, or new ones."""

    def __init__(self, choice: ServiceChoice, access: ServiceAccess) -> None:
        self._choice, self._access = choice, access
        self._session: ExecutorSession | None = None
        self._turn = asyncio.Lock()
        self._generator: asyncio.Task[GeneratorClient] | None = None

    async def offered(self, _: RequestContext) -> Collection[str]:
        """Return the tools whose services are given, found or can be started."""
        python = [PYTHON, CLEANUP] if self._choice.executor or not self._choice.generator else []
        return [*python, SOLVE] if self._has_generator() else python

    async def run_python(self, _: RequestContext, code: str) -> executor_pb2.SnippetResult:
        """Run code in the session, after the calls before it."""
        async with self._turn:
            if self._session is None:
                self._session = (await self._access.executor()).session(session_id="mcp")
            return await self._session.run(code)

    async def end_session(self, _: RequestContext) -> None:
        """End the session; the next code opens another."""
        async with self._turn:
            if self._session:
                await self._session.close()
            self._session = None

    async def solve(self, _: RequestContext, arguments: SolveArguments) -> AsyncIterator[generator_pb2.SolveResponse]:
        """Solve a problem, on a generator that is started first if there is none."""
        async with aclosing(cast(Any, arguments.solve_with(await self._find_generator()))) as events:
            async for event in events:
                yield event

    def _has_generator(self) -> bool:
        if self._choice.generator or installed_version("generator"):
            return True
        found = find_detached().stack
        return bool(found and found.generator and not self._choice.executor)

    async def _find_generator(self) -> GeneratorClient:
        """Return the generator. One that starts goes on starting if the call is cancelled: the next one finds it."""
        if self._generator is None:
            self._generator = asyncio.create_task(self._access.generator())
        try:
            return await asyncio.shield(self._generator)
        except Exception:
            self._generator = None
            raise


def serve_stdio(choice: ServiceChoice) -> None:
    """Serve until the client closes the standard input, or SIGINT or SIGTERM. Then end what was started.

    Raises:
        InvalidRequest: The choice of services is not valid.
    """
    with suppress(asyncio.CancelledError):
        asyncio.run(_serve(choice))


async def _serve(choice: ServiceChoice) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    async with ServiceAccess(choice) as access:
        server = ToolServer(LocalBackend(choice, access)).server
        with _own_streams() as (stdin, stdout), suppress(BrokenPipeError):
            lines = cast(Any, _InputLines(stdin))
            async with stdio_server(lines, anyio.wrap_file(stdout)) as (read, write):
                await server.run(read, write, server.create_initialization_options())


@contextmanager
def _own_streams() -> Iterator[tuple[TextIO, TextIO]]:
    """Yield the standard input and output. For the block, others read nothing, and write to the standard error."""
    stdin, stdout = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    with os.fdopen(stdout, "w", encoding="utf-8") as output:
        # Not closed: a thread may still wait for a line.
        yield os.fdopen(stdin, encoding="utf-8", errors="replace", closefd=False), output


class _InputLines:
    """Lines of a stream, read by a thread that ends with the process: no wait for a line holds up the end."""

    def __init__(self, stream: TextIO) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    async def __aiter__(self) -> AsyncIterator[str]:
        while line := await self._lines.get():
            yield line

    def _read(self, stream: TextIO) -> None:
        line = "?"
        while line:
            try:
                line = stream.readline()
            except (OSError, ValueError):
                line = ""
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._lines.put_nowait, line)

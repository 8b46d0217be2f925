"""The sandbox of a notebook: one session, whose cells run in an event loop apart from the kernel's own."""

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass

from deepmath.clients import ExecutorSession, OutputHandler
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.background_loop import BackgroundLoop
from deepmath.sdk.service_access import ServiceAccess, ServiceChoice


@dataclass(frozen=True, slots=True)
class CellRun:
    """A cell that ran: its result, and notes on executors that were lost and replaced meanwhile."""

    result: pb.SnippetResult
    notes: tuple[str, ...]


class CellRunner:
    """Runs cells one after the other in a session that opens with the first. Threads may share it.

    The executor is the one of the choice, or that of the detached stack, or one started here, which ends with `close`.
    """

    def __init__(self, choice: ServiceChoice, seed: int = 0, limits: pb.Limits | None = None) -> None:
        self._choice, self._seed, self._limits = choice, seed, limits
        self._access: ServiceAccess | None = None
        self._session: ExecutorSession | None = None
        self._notes: list[str] = []
        self._turn = asyncio.Lock()
        self._running: set[Future[CellRun]] = set()
        self._loop = BackgroundLoop()

    def start(self, code: str, on_output: OutputHandler | None = None) -> Future[CellRun]:
        """Start a cell, whose output `on_output` receives in parts, in the thread of the event loop.

        The future raises `DeepMathError` if no executor ran it, and CancelledError if interrupted.

        After either the variables are as before the cell.
        """
        cell = self._loop.submit(self._run(code, on_output))
        self._running.add(cell)
        cell.add_done_callback(self._running.discard)
        return cell

    def interrupt(self) -> None:
        """Cancel the running cells, and kill their sandbox; the next cell restores the variables by a replay."""
        for cell in tuple(self._running):
            cell.cancel()

    def close(self) -> None:
        """End the session, and the executor that was started here. Idempotent."""
        self._loop.close()

    async def _run(self, code: str, on_output: OutputHandler | None) -> CellRun:
        async with self._turn:
            self._notes.clear()
            if self._session is None:
                self._session = await self._open()
            result = await self._session.run(code, self._limits, on_output=on_output)
            return CellRun(result, tuple(self._notes))

    async def _open(self) -> ExecutorSession:
        if self._access is None:
            self._access = await self._loop.hold(ServiceAccess(self._choice))
        return (await self._access.executor()).session(self._seed, "notebook", self._notes.append)

"""Progress notifications of a tool call, at intervals, to a client that asks for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from mcp.server.session import ServerSession

from deepmath.generator.v1 import generator_pb2 as pb

_INTERVAL_S = 1.0


class CallProgress:
    """Counts of what a call has done so far, as a sentence."""

    def __init__(self, samples: int = 0) -> None:
        self._samples, self._ended, self._snippets = samples, 0, 0

    def add(self, event: pb.SolveResponse) -> None:
        """Count an event of the maths agent."""
        kind = event.WhichOneof("event")
        self._snippets += kind == "result"
        self._ended += kind == "trajectory"

    def __str__(self) -> str:
        if not self._samples:
            return "running"
        return f"{self._snippets} snippets run; {self._ended} of {self._samples} samples done"


@asynccontextmanager
async def reported(session: ServerSession, progress: CallProgress) -> AsyncIterator[None]:
    """Report `progress` each second of the block, with the seconds so far. Keeps a client's timeout from expiring."""
    reports = asyncio.create_task(_report(session, progress))
    try:
        yield
    finally:
        reports.cancel()
        with suppress(asyncio.CancelledError):
            await reports


async def _report(session: ServerSession, progress: CallProgress) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    while True:
        await asyncio.sleep(_INTERVAL_S)
        await session.report_progress(round(loop.time() - start, 1), message=str(progress))

"""Sessions that are opened, used and closed without pause, and checked for lost variables."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

from deepmath.clients import ExecutorClient
from deepmath.errors import DeepMathError


class SessionLoad:
    """Counts of finished, moved and lost sessions. A lost one failed, or forgot its variables."""

    def __init__(self, client: ExecutorClient, snippets: int, pause_s: float) -> None:
        self._client, self._snippets, self._pause_s = client, snippets, pause_s
        self.finished = self.moved = 0
        self.lost: list[str] = []

    async def work(self, seed: int) -> None:
        """Run one session after another."""
        for number in count():
            try:
                await self._run_session(1000 * seed + number)
            except DeepMathError as error:
                self.lost.append(str(error))
            self.finished += 1

    async def _run_session(self, seed: int) -> None:
        async with self._client.session(seed) as session:
            await session.run(f"values = [{seed}]")
            for step in range(1, self._snippets):
                await asyncio.sleep(self._pause_s)
                value = (
                    await session.run(f"values.append(values[-1] + 1)\nvalues == [*range({seed}, {seed + step + 1})]")
                ).value
                if value != "True":
                    self.lost.append(f"session {seed} forgot its variables: {value!r}")
            self.moved += session.losses > 0


@asynccontextmanager
async def session_load(
    client: ExecutorClient, sessions: int, snippets: int = 5, pause_s: float = 0.2
) -> AsyncIterator[SessionLoad]:
    """Keep `sessions` sessions of `snippets` snippets each open for the duration of the block."""
    load = SessionLoad(client, snippets, pause_s)
    tasks = [asyncio.create_task(load.work(seed)) for seed in range(sessions)]
    try:
        yield load
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(result, asyncio.CancelledError):
                load.lost.append(f"a task ended: {result!r}")

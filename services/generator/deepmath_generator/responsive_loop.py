"""Work that would hold the event loop: long texts go to a thread, and the rest of the work takes turns.

Encoding half a MiB takes half a second. And the steps of many trajectories end at the same moment, as those of one
batch: if all were processed in one iteration of the event loop, everything else would wait for their sum.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

Result = TypeVar("Result")

_SHORT_CHARACTERS = 4096  # about a millisecond, no longer than a busy loop takes for the way to a thread and back


class ResponsiveLoop:
    """One thread for long texts, and turns in the event loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "long-texts")
        self._turn = asyncio.Lock()

    async def process(self, work: Callable[[], Result], characters: int) -> Result:
        """Return `work()`, which takes time linear in this number of characters.

        Tokenizers release the interpreter lock while they encode, and Python code gives it up every 5 ms.
        """
        if characters <= _SHORT_CHARACTERS:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for an iteration of the event loop in which no other turn is held, and hold it for the block."""
        async with self._turn:
            await asyncio.sleep(0)
            yield

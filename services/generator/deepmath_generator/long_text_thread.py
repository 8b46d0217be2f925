"""Processing of long texts outside the event loop: encoding half a MiB takes half a second."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

_SHORT_CHARACTERS = 4096  # about a millisecond, no longer than a busy loop takes for the way to a thread and back


class LongTextThread:
    """One thread, which processes texts in order. Tokenizers release the interpreter lock while they encode."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "long-texts")

    async def run(self, process: Callable[[], Result], characters: int) -> Result:
        """Return `process()`, which takes time linear in this number of characters."""
        if characters <= _SHORT_CHARACTERS:
            return process()
        return await asyncio.get_running_loop().run_in_executor(self._pool, process)

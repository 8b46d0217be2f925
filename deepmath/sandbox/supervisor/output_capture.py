"""Capture of a sandbox's stdout and stderr, read as they are written and kept in bounded memory."""

import asyncio
import os
from collections.abc import Callable

from deepmath.sandbox.bounded_text import HeadAndTail
from deepmath.sandbox.supervisor.output_preview import OutputPreview

_READ_BYTES = 1 << 16  # the capacity of a pipe
_FLOOD_BYTES = 8 << 20


class OutputCapture:
    """Reads both pipes on the event loop. Calls `on_flood` if one snippet writes over 8 MiB of text to them.

    Escapes count: bytes that are no UTF-8, which only a hostile snippet writes, take the longest to convert.
    """

    def __init__(self, stdout: int, stderr: int, on_flood: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_flood = on_flood
        self._pipes = (stdout, stderr)
        self._written = 0
        self._preview: OutputPreview | None = None
        self._texts = {pipe: HeadAndTail(0) for pipe in self._pipes}
        for pipe in self._pipes:
            os.set_blocking(pipe, False)
            self._loop.add_reader(pipe, self._read, pipe)

    def restart(self, limit: int, preview: OutputPreview | None = None) -> None:
        """Start capturing the output of the next snippet, at most `limit` bytes of each text, with a preview of it."""
        self._texts = {pipe: HeadAndTail(limit) for pipe in self._pipes}
        self._preview = preview
        if preview is not None:
            preview.start(*self._texts.values())
        self._written = 0

    async def drain(self) -> None:
        """Read what is left in the pipes, a piece in each turn of the event loop."""
        for pipe in self._pipes:
            while self._read(pipe):  # noqa: ASYNC110 - no waiting, only others' turns
                await asyncio.sleep(0)

    def texts(self) -> list[tuple[str, int]]:
        """End the capture; return text and number of dropped bytes of stdout and of stderr."""
        self._preview = None
        return [self._texts[pipe].result() for pipe in self._pipes]

    def close(self) -> None:
        """Close the pipes."""
        for pipe in self._pipes:
            self._loop.remove_reader(pipe)
            os.close(pipe)

    def _read(self, pipe: int) -> bool:
        """Read once and return whether there may be more."""
        try:
            data = os.read(pipe, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._loop.remove_reader(pipe)
            return False
        self._written += self._texts[pipe].feed(data)
        if self._written > _FLOOD_BYTES:
            self._on_flood()
            return False
        if self._preview is not None:
            self._preview.notify()
        return True

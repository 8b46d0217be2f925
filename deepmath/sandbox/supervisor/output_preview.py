"""Preview of a running snippet's output: the part of each text that its result keeps for certain, as it grows."""

import asyncio

from deepmath.sandbox.bounded_text import HeadAndTail

_INTERVAL_S = 0.03
"""Output of this time is one piece: little to send for a snippet that writes byte by byte, no delay to a reader."""


class OutputPreview:
    """Pieces of the output of one snippet. It holds no text of its own, so a slow reader gets larger pieces.

    All pieces of a text together are a prefix of the text in the snippet's result.
    """

    def __init__(self) -> None:
        self._texts: tuple[HeadAndTail, HeadAndTail] | None = None
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    def start(self, stdout: HeadAndTail, stderr: HeadAndTail) -> None:
        """Read from the texts of the snippet, which now starts."""
        self._texts = (stdout, stderr)

    def notify(self) -> None:
        """Report that the snippet has written."""
        if self._timer is None and not self._ended:
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL_S, self._due.set)

    def end(self) -> None:
        """End the preview: what has not been read is in the result."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        self._due.set()

    async def next(self) -> tuple[str, str] | None:
        """Return the next piece of stdout and of stderr, once the snippet has written; None after the end."""
        while True:
            await self._due.wait()
            if self._ended:
                return None
            self._due.clear()
            self._timer = None
            if (piece := self.take()) is not None:
                return piece

    def take(self) -> tuple[str, str] | None:
        """Return the next piece of stdout and of stderr at once; None if there is none."""
        assert self._texts is not None
        stdout, stderr = (text.take() for text in self._texts)
        return (stdout, stderr) if stdout or stderr else None

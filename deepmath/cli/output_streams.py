"""Standard output and error of the command, on which every text is printable.

`protect_streams` replaces `sys.stdout` and `sys.stderr`, so that a `print` anywhere, of ours or of a library, cannot
steer the terminal. `write_data` alone bypasses that, for the output of a program, and only into a file or a pipe.
"""

import errno
import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from deepmath.observability.line_writer import LineWriter
from deepmath.printable_text import json_line, printable

_POLL_S = 0.02


class _StreamOver(io.TextIOBase):
    """A text stream over another one, `raw`."""

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self.raw.isatty()

    def fileno(self) -> int:
        """Return the descriptor beneath."""
        return self.raw.fileno()

    def writable(self) -> bool:
        """Return True."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a property in io, an attribute in its stubs
        """The encoding of the stream beneath."""
        return self.raw.encoding


class PrintableStream(_StreamOver):
    """A text stream that makes printable what is written to `raw`."""

    def write(self, text: str) -> int:
        """Write `text` as `printable` shows it."""
        self.raw.write(printable(text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream beneath."""
        self.raw.flush()


class QueuedStream(_StreamOver):
    """A text stream whose text a thread writes to `raw`: nobody waits for a reader that has stopped.

    Over 4 MiB in the queue are lost. Writing after the reader has closed its end raises BrokenPipeError.
    """

    def __init__(self, raw: TextIO) -> None:
        super().__init__(raw)
        raw.flush()
        self._pending = ""
        self._failure: OSError | None = None
        self._writer = LineWriter(raw.fileno(), lambda lines: f"{lines} writes were lost\n".encode(), self._fail)

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait to be written."""
        return self._writer.queued_bytes

    def write(self, text: str) -> int:
        """Queue `text` when its line is complete, or with the next `flush`."""
        self._pending += text
        if "\n" in text:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Queue what was written."""
        if self._failure:
            raise self._failure
        pending, self._pending = self._pending, ""
        if pending:
            self._writer.write(pending.encode(self.encoding, "backslashreplace"))

    def _fail(self, reason: str) -> None:
        self._failure = BrokenPipeError() if reason == os.strerror(errno.EPIPE) else OSError(0, reason)


def protect_streams() -> None:
    r"""Make the standard output and error printable. What their encoding lacks is written as `\u` escapes.

    A closed one is replaced by the null device.
    """
    sys.stdout, sys.stderr = _protect(sys.stdout), _protect(sys.stderr)


@contextmanager
def unblocked_streams() -> Iterator[None]:
    """Let no write to the standard streams wait for their reader within the block.

    For commands that handle signals in an event loop: a write that waits would hold the loop, and with it the signal.
    What is not written at the end of the block has another second at the end of the process.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_queue(stream) for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        sys.stdout, sys.stderr = before


def wait_until_written() -> None:
    """Wait for the readers of the standard streams within `unblocked_streams`."""
    while queued_bytes(sys.stdout) + queued_bytes(sys.stderr):
        time.sleep(_POLL_S)


def queued_bytes(stream: TextIO) -> int:
    """Return how much waits to be written to a stream of `unblocked_streams`; 0 for others."""
    raw = raw_stream(stream)
    return raw.queued_bytes if isinstance(raw, QueuedStream) else 0


def raw_stream(stream: TextIO) -> TextIO:
    """Return the stream beneath a protected one, for a caller that writes printable text or data only."""
    return stream.raw if isinstance(stream, PrintableStream) else stream


def write_data(text: str, stream: TextIO) -> None:
    """Write a program's output: as it is to a file or a pipe, printable to a terminal, as `ls` does with file names."""
    target = stream if stream.isatty() else raw_stream(stream)
    target.write(text)
    target.flush()


def print_json(value: Any) -> None:
    """Print `value` as JSON on one line of the standard output, in ASCII where its encoding is not UTF-8."""
    is_utf8 = sys.stdout.encoding.lower().replace("-", "").startswith("utf8")
    print(json_line(value, ascii_only=not is_utf8), flush=True)


def _queue(stream: TextIO) -> Any:
    raw = raw_stream(stream)
    try:
        raw.fileno()
    except (OSError, ValueError):  # not a file
        return stream
    return PrintableStream(QueuedStream(raw))  # type: ignore[arg-type]  # typeshed's TextIO is no protocol


def _protect(stream: TextIO | None) -> Any:
    if isinstance(stream, PrintableStream):
        return stream
    if stream is None:
        stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for the life of the process
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return PrintableStream(stream)

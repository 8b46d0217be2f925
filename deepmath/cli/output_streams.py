"""Standard output and error of the command, on which every text is printable.

`protect_streams` replaces `sys.stdout` and `sys.stderr`, so that a `print` anywhere, of ours or of a library, cannot
steer the terminal. `write_data` alone bypasses that, for the output of a program, and only into a file or a pipe.
"""

import io
import os
import sys
from typing import Any, TextIO

from deepmath.printable_text import json_line, printable


class PrintableStream(io.TextIOBase):
    """A text stream that makes printable what is written to `raw`."""

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    def write(self, text: str) -> int:
        """Write `text` as `printable` shows it."""
        self.raw.write(printable(text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream beneath."""
        self.raw.flush()

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


def protect_streams() -> None:
    r"""Make the standard output and error printable. What their encoding lacks is written as `\u` escapes.

    A closed one is replaced by the null device.
    """
    sys.stdout, sys.stderr = _protect(sys.stdout), _protect(sys.stderr)


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


def _protect(stream: TextIO | None) -> Any:
    if isinstance(stream, PrintableStream):
        return stream
    if stream is None:
        stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for the life of the process
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return PrintableStream(stream)

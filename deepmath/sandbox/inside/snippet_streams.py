"""Standard streams of a snippet: its input, which is in memory, and the pipes to the supervisor."""

import io
import sys
from typing import NoReturn

# Kept here because a snippet may patch the module they come from.
_text, _file, _reader, _writer = io.TextIOWrapper, io.FileIO, io.BufferedReader, io.BufferedWriter


class EmptyInput(io.TextIOBase):
    """Standard input of a snippet. Every read raises EOFError: no text would tell a model that nobody can answer."""

    mode, encoding, errors = "r", "utf-8", "strict"

    @property
    def buffer(self) -> "EmptyInput":
        """The stream itself, since it has no bytes either."""
        return self

    def read(self, size: int | None = -1, /) -> NoReturn:  # noqa: ARG002
        """Refuse.

        Raises:
            EOFError: Always.
        """
        raise EOFError("standard input is empty; assign the values in the code")

    readline = read  # `input` and iteration call it

    def readable(self) -> bool:
        """Return that this is an input."""
        return True


class _InputBytes(io.BytesIO):
    name, mode = "<stdin>", "rb"


def text_input(data: bytes) -> io.TextIOWrapper | EmptyInput:
    """Return a stream that reads the UTF-8 text in `data`, and has its bytes as `buffer`."""
    return _text(_reader(_InputBytes(data)), encoding="utf-8") if data else EmptyInput()


def explain(error: BaseException) -> None:
    """Add a note to the EOFError of `input()` after the last line."""
    if type(error) is EOFError and type(getattr(sys, "__stdin__", None)) is _text:
        error.add_note("The snippet has read all of its standard input.")


def install(stdin: io.TextIOWrapper | EmptyInput, stdout: io.TextIOWrapper, stderr: io.TextIOWrapper) -> None:
    """Make these the streams of `sys`."""
    sys.stdin = sys.__stdin__ = stdin  # type: ignore[assignment, misc]
    sys.stdout = sys.__stdout__ = stdout  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = stderr  # type: ignore[misc]


def text_stream(descriptor: int) -> io.TextIOWrapper:
    """Return a stream that writes to `descriptor`, line by line: printed text outlives a killed process."""
    raw = _file(descriptor, "w", closefd=False)
    return _text(_writer(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True)

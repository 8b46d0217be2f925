"""Standard streams of a snippet: an input without a line, and the pipes to the supervisor."""

import io
import sys
from typing import NoReturn


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


def install(stdout: io.TextIOWrapper, stderr: io.TextIOWrapper) -> None:
    """Make these the streams of `sys`, with a new EmptyInput."""
    sys.stdin = sys.__stdin__ = EmptyInput()  # type: ignore[assignment, misc]
    sys.stdout = sys.__stdout__ = stdout  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = stderr  # type: ignore[misc]


def text_stream(descriptor: int) -> io.TextIOWrapper:
    """Return a stream that writes to `descriptor`, line by line: printed text outlives a killed process."""
    raw = io.FileIO(descriptor, "w", closefd=False)
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True)

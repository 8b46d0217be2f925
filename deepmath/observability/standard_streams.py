"""Lines on this process's stdout and stderr, written without waiting for whoever reads them."""

import os
import sys
from functools import cache
from typing import TextIO

from deepmath.observability.line_writer import LineWriter
from deepmath.printable_text import printable_line


def announce(line: str) -> None:
    """Write `line` to stdout, such as the address that a service listens on."""
    writer = _stdout()
    writer.write(f"{printable_line(line)}\n".encode())
    writer.flush()


def report_error(line: str) -> None:
    """Write `line` to stderr, such as the reason for which this process ends."""
    writer = _stderr()
    writer.write(f"{printable_line(line)}\n".encode())
    writer.flush()


def descriptor_of(stream: TextIO | None, number: int) -> int:
    """Return the descriptor `number` of a standard stream, or one of nowhere if this process started without it."""
    # Another file may have got the number of a closed stream since.
    return number if stream is not None else os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def _gap(lines: int) -> bytes:
    return f"{lines} lines were lost\n".encode()


@cache
def _stdout() -> LineWriter:
    return LineWriter(descriptor_of(sys.__stdout__, 1), _gap)


@cache
def _stderr() -> LineWriter:
    return LineWriter(descriptor_of(sys.__stderr__, 2), _gap)

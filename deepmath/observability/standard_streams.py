"""Lines on this process's stdout and stderr, written without waiting for whoever reads them."""

import atexit
import os
import subprocess
import sys
from contextlib import suppress
from functools import cache

from deepmath.observability.line_writer import LineWriter
from deepmath.observability.output_relay import RelaySettings
from deepmath.printable_text import printable_line

_STDERR = 2
_LAST_LINES_S = 1.0  # for a relay to forward them
_redirected: dict[int, int] = {}  # descriptors for our own lines, by that of the standard stream


def announce(line: str) -> None:
    """Write `line` to stdout, such as the address that a service listens on."""
    writer = _stdout()
    writer.write(f"{printable_line(line)}\n".encode())
    writer.flush()


def print_last_words(line: str) -> None:
    """Write `line` to stderr, such as the reason for which this process ends."""
    writer = _stderr()
    writer.write(f"{printable_line(line)}\n".encode())
    writer.flush()


def descriptor_of(number: int) -> int:
    """Return the descriptor for lines to stdout (1) or stderr (2); of nowhere if this process started without it."""
    if number in _redirected:
        return _redirected[number]
    stream = {1: sys.__stdout__, 2: sys.__stderr__}[number]
    # Another file may have got the number of a closed stream since.
    return number if stream is not None else os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def relay_output(service: str) -> None:
    """Have a relay forward all that this process and its children print from now on, as JSON objects of `service`.

    Log lines of this process take a way of their own, on which it notices losses. Call it once, before any line.
    """
    _occupy_closed_streams()
    records, stdout, stderr = os.pipe(), os.pipe(), os.pipe()
    settings = RelaySettings(service, records=records[0], stdout=stdout[0], stderr=stderr[0])
    relay = subprocess.Popen(  # it ends after this process
        settings.command(),
        stdin=subprocess.DEVNULL,
        stdout=_inherited(1),
        stderr=_inherited(2),
        pass_fds=settings.inherited,
        start_new_session=True,
    )
    os.dup2(stdout[1], 1)
    os.dup2(stderr[1], 2)
    for descriptor in (*settings.inherited, stdout[1], stderr[1]):
        os.close(descriptor)
    _redirected[2] = records[1]
    atexit.register(_finish, relay, (1, 2, _redirected[2]))


def _occupy_closed_streams() -> None:
    """Let no pipe take the number of a standard stream that this process started without: the relay replaces these."""
    while (nowhere := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= _STDERR:
        pass
    os.close(nowhere)


def _inherited(number: int) -> int | None:
    """Return a value for subprocess's `stdout` or `stderr`: the stream of this process, if it started with it."""
    return None if {1: sys.__stdout__, 2: sys.__stderr__}[number] is not None else subprocess.DEVNULL


def _finish(relay: subprocess.Popen[bytes], descriptors: tuple[int, ...]) -> None:
    """Wait for the last lines, since the end of a container's first process kills the relay."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    with suppress(subprocess.TimeoutExpired):  # a child still has the output open, or nobody reads ours
        relay.wait(_LAST_LINES_S)


def _gap(lines: int) -> bytes:
    return f"{lines} lines were lost\n".encode()


@cache
def _stdout() -> LineWriter:
    return LineWriter(descriptor_of(1), _gap)


@cache
def _stderr() -> LineWriter:
    return LineWriter(descriptor_of(2), _gap)

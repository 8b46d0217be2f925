"""A command with a pseudo-terminal as its standard output and error."""

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Mapping

OURS = re.compile(rb"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[[0-9]*[AK]|\r?\x1b\[2K|\r(?=\x1b)")
"""Sequences that rich writes: colours, the cursor shown and hidden, moved up, lines erased."""


async def run_on_terminal(*arguments: str, columns: int = 100, env: Mapping[str, str] | None = None) -> bytes:
    """Run `deepmath` and return all that it wrote to its terminal, raw except that the kernel's \\r\\n is \\n."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from deepmath.cli.main import main; main()", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", **(env or {})},
    )
    os.close(theirs)
    reading = asyncio.create_task(asyncio.to_thread(_read, ours))
    await process.wait()
    return (await reading).replace(b"\r\n", b"\n")


def _read(descriptor: int) -> bytes:
    found = b""
    with contextlib.suppress(OSError):  # EIO: the other side is closed
        while piece := os.read(descriptor, 1 << 16):
            found += piece
    os.close(descriptor)
    return found


def without_colours(raw: bytes) -> str:
    """Return a terminal's text without the sequences that are ours."""
    return OURS.sub(b"", raw).decode()

"""Append-only JSON Lines files that survive a killed writer: only the last line may be torn."""

import json
import os
from typing import IO, Any

_BLOCK = 1 << 16  # bytes read at once, backwards from the end


def append_line(file: IO[bytes], values: dict[str, Any]) -> None:
    """Write one line in a single system call, which keeps all earlier lines whole if the process is killed."""
    os.write(file.fileno(), json.dumps(values, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")


def truncate_torn_line(file: IO[bytes]) -> None:
    """Cut off everything after the last newline."""
    size = file.seek(0, os.SEEK_END)
    end = size
    while end:
        start = max(0, end - _BLOCK)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        file.truncate(end)

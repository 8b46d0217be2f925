"""A log of JSON lines, each about an optimizer step, that a worker appends to while others read it.

Each line is one write; a torn last line, as a killed worker may leave it, is ignored.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deepmath.evaluation.json_lines import append_line


class RunLogReader:
    """Reads a log from its start, then the lines appended since the last read."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def read(self) -> list[dict[str, Any]]:
        """Return the objects whose lines were completed since the last call."""
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(min(self._offset, size))  # shorter than before: the run was rewound
                self._offset = file.tell()
                lines = [line for line in file if line.endswith(b"\n")]
        except FileNotFoundError:
            return []
        self._offset += sum(map(len, lines))
        return [line for line in map(_parse, lines) if line is not None]


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Append a line."""
    with path.open("ab", buffering=0) as file:
        append_line(file, dict(line))


def truncate_after(path: Path, step: int) -> None:
    """Remove the lines about steps after `step`, and a torn last line."""
    os.truncate(path, sum(map(len, _lines_up_to(path, step))))


def _lines_up_to(path: Path, step: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            parsed = _parse(line)
            if not line.endswith(b"\n") or (parsed and parsed["step"] > step):
                return
            yield line


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        parsed = json.loads(line)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) and isinstance(parsed.get("step"), int) else None

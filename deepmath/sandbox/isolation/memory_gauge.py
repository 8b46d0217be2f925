"""Gauge of the memory that this process and its children may use, and use: their control group's, or the machine's."""

import contextlib
import os
from pathlib import Path
from typing import Self

from deepmath.sandbox.isolation import cgroup

_USAGE_FILES = ("memory.usage_in_bytes", "memory.current")  # of version 1 and 2
_FILE_FIELDS = (  # of memory.stat; version 1 does not list the names of files
    ("total_inactive_file", "total_active_file"),
    ("inactive_file", "active_file", "slab_reclaimable"),
)


class MemoryGauge:
    """Reads the memory use of a control group, or of the machine without one.

    Page cache of files and cached names of files do not count: the kernel drops them before it kills, and a snippet can
    make gigabytes of them by asking for files that do not exist. Shared memory counts.

    Attributes:
        limit_bytes: Memory at which the kernel starts to kill processes.
    """

    def __init__(self, limit_bytes: int, group: Path | None = None) -> None:
        self.limit_bytes = limit_bytes
        self._group = group
        self._version = 2 if group is not None and (group / _USAGE_FILES[1]).exists() else 1

    @classmethod
    def of_this_process(cls) -> Self:
        """Return the gauge of the control group with the lowest limit around this process, or of the machine."""
        lowest = cls(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        with contextlib.suppress(OSError, ValueError):
            group, version = cgroup.own_group("memory")
            while (file := group / cgroup.LIMIT_FILES["memory"][version - 1]).exists():
                words = cgroup.read_words(file)
                if words and words[0].isdecimal() and int(words[0]) < lowest.limit_bytes:
                    lowest = cls(int(words[0]), group)
                group = group.parent
        return lowest

    def used_bytes(self) -> int:
        """Return the memory in use, in bytes.

        Raises:
            OSError: The kernel reports no such figures here.
        """
        try:
            if self._group is None:
                memory = _fields(Path("/proc/meminfo"))
                return (memory["MemTotal:"] - memory["MemAvailable:"]) << 10
            used = int((self._group / _USAGE_FILES[self._version - 1]).read_text())
            statistics = _fields(self._group / "memory.stat")
            return used - sum(statistics[name] for name in _FILE_FIELDS[self._version - 1])
        except (KeyError, ValueError) as error:
            raise OSError(f"no field {error}") from error


def _fields(file: Path) -> dict[str, int]:
    lines = (line.split() for line in file.read_text().splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}

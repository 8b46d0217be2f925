"""Counters of the memory control group of a process on this machine, of version 1 or 2."""

from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")


class MemoryGroup:
    """The group that `pid` is in. It is read from outside, which takes no memory in it."""

    def __init__(self, pid: int) -> None:
        groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
        versions = {"memory": _MOUNT / "memory", "": _MOUNT}
        name = "memory" if "memory" in groups else ""
        self._group = versions[name] / groups[name].lstrip("/")

    def oom_kills(self) -> int:
        """Return the number of processes that the kernel has killed for lack of memory in the group."""
        file = next(filter(Path.exists, (self._group / "memory.oom_control", self._group / "memory.events")))
        return int(dict(line.split() for line in file.read_text().splitlines())["oom_kill"])

    def peak_bytes(self) -> int:
        """Return the most memory that was in use in the group, page cache included."""
        names = ("memory.max_usage_in_bytes", "memory.peak")
        return int(next(filter(Path.exists, (self._group / name for name in names))).read_text())

"""A control group around a zygote and all its sandboxes: how much memory and how many processes they have together.

Version 2 is used where the service's own group may be divided (systemd's `Delegate=yes`, or a service that is root on
the host), version 1 where its hierarchies can be written to. See Documentation/admin-guide/cgroup-v2.rst and
cgroup-v1/ in the kernel's sources.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from deepmath.sandbox.isolation.layers import IsolationLayer

_NAME = "deepmath-executor"
_LIMITS = {  # controller: (file of version 1, file of version 2)
    "memory": ("memory.limit_in_bytes", "memory.max"),
    "pids": ("pids.max", "pids.max"),
}
_END_SECONDS = 1.0  # for the kernel to take out the processes that were killed


class Cgroup:
    """Groups made for this supervisor; none where that is not possible or not wanted, and then `layer` says why."""

    def __init__(self, memory_bytes: int, processes: int, wanted: bool = True) -> None:
        self._groups: dict[str, Path] = {}
        self._reasons: dict[str, str] = {} if wanted else {"memory and pids": "not asked for"}
        for controller, limit in (("memory", memory_bytes), ("pids", processes)) if wanted else ():
            try:
                self._groups[controller] = _make(controller, limit)
            except OSError as error:
                self._reasons[controller] = error.strerror or str(error)
        self.memory_bytes, self._processes = memory_bytes, processes

    @property
    def limits_memory(self) -> bool:
        """Whether the kernel holds the limit of memory."""
        return "memory" in self._groups

    def add(self, pid: int) -> None:
        """Put a process in, and with it all that it will fork."""
        for controller, group in list(self._groups.items()):
            try:
                (group / "cgroup.procs").write_text(str(pid))
            except OSError as error:
                del self._groups[controller]
                self._reasons[controller] = error.strerror or str(error)

    @property
    def layer(self) -> IsolationLayer:
        """The layer as GetInfo tells it."""
        if not self._reasons:
            detail = f"{self.memory_bytes >> 20} MiB and {self._processes} processes for all sandboxes together"
            return IsolationLayer(name="cgroup", in_force=True, detail=detail)
        reasons = "; ".join(f"{controller}: {reason}" for controller, reason in self._reasons.items())
        return IsolationLayer(
            name="cgroup",
            in_force=False,
            detail=f"{reasons}; the supervisor watches the memory instead. Run it where it may make control groups "
            "(systemd: Delegate=yes)",
        )

    def close(self) -> None:
        """Remove the groups. Their processes have to be dead."""
        deadline = time.monotonic() + _END_SECONDS
        for group in set(self._groups.values()):
            while not _remove(group) and time.monotonic() < deadline:
                time.sleep(0.01)


def _make(controller: str, limit: int) -> Path:
    """Make a group under the one that this process is in and set its limit."""
    own, version = _own_group(controller)
    for left in own.glob(f"{_NAME}-*"):  # by a supervisor that was killed; one in use cannot be removed
        _remove(left)
    if version == 2:
        _divide(own, controller)
    group = own / f"{_NAME}-{os.getpid()}"
    group.mkdir(exist_ok=True)
    try:
        (group / _LIMITS[controller][version - 1]).write_text(str(limit))
    except OSError:
        _remove(group)
        raise
    return group


def _own_group(controller: str) -> tuple[Path, int]:
    """Return this process's group in the hierarchy of `controller`, and the version of that."""
    paths = dict(_memberships())
    for mount, root, options in _mounts():
        key = controller if options else ""
        if key not in paths or (options and controller not in options):
            continue
        group = mount / os.path.relpath(paths[key], root)  # a container may see its own part of the hierarchy only
        if options:
            return group, 1
        if controller in _read_words(group / "cgroup.controllers"):
            return group, 2
    raise FileNotFoundError(0, f"no hierarchy with the {controller} controller is mounted")


def _memberships() -> Iterator[tuple[str, str]]:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _mounts() -> Iterator[tuple[Path, str, set[str]]]:
    """Where hierarchies are mounted, which part of each, and with which controllers; none for version 2."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        root, mount = before.split()[3:5]
        kind, _, options = after.split(" ")
        if kind in ("cgroup", "cgroup2"):
            yield Path(mount), root, set(options.split(",")) if kind == "cgroup" else set()


def _divide(own: Path, controller: str) -> None:
    """Let the groups under `own` have `controller`, for which no process may be in `own` itself."""
    control = own / "cgroup.subtree_control"
    if controller in _read_words(control):
        return
    try:
        control.write_text(f"+{controller}")
    except OSError:
        supervisor = own / f"{_NAME}-supervisor"
        supervisor.mkdir(exist_ok=True)
        (supervisor / "cgroup.procs").write_text(str(os.getpid()))
        control.write_text(f"+{controller}")


def _read_words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _remove(group: Path) -> bool:
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()


def memory_here() -> int:
    """Bytes of memory that this process and its children may have: the machine's, or what its control group allows."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        own, version = _own_group("memory")
        while own != own.parent and (limit := own / _LIMITS["memory"][version - 1]).exists():
            words = _read_words(limit)
            if words and words[0].isdecimal():
                total = min(total, int(words[0]))
            own = own.parent
    return total

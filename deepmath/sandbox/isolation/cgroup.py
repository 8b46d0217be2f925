"""Control group around a zygote and all its sandboxes: limits on their total memory and number of processes.

Version 2 needs a delegated group (systemd's `Delegate=yes`, or a supervisor that is root on the host); version 1 needs
writable hierarchies. See Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/ in the kernel's sources.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from deepmath.sandbox.isolation.layers import IsolationLayer

_NAME = "deepmath-executor"
LIMIT_FILES = {  # controller: (file of version 1, file of version 2)
    "memory": ("memory.limit_in_bytes", "memory.max"),
    "pids": ("pids.max", "pids.max"),
}
_END_SECONDS = 1.0  # for the kernel to remove the processes that were killed


class Cgroup:
    """Control groups of one supervisor, one per controller.

    Where a group cannot be created, or with `enabled` false, there is none, and `layer` says why.
    """

    def __init__(self, memory_bytes: int, processes: int, enabled: bool = True) -> None:
        self._groups: dict[str, Path] = {}
        self._reasons: dict[str, str] = {} if enabled else {"memory and pids": "not requested"}
        for controller, limit in (("memory", memory_bytes), ("pids", processes)) if enabled else ():
            try:
                self._groups[controller] = _create(controller, limit)
            except OSError as error:
                self._reasons[controller] = error.strerror or str(error)
        self.memory_bytes, self._processes = memory_bytes, processes

    @property
    def memory_group(self) -> Path | None:
        """The group whose memory limit the kernel enforces; None without one."""
        return self._groups.get("memory")

    def add(self, pid: int) -> None:
        """Move a process into the groups. Its later children are born in them."""
        for controller, group in list(self._groups.items()):
            try:
                (group / "cgroup.procs").write_text(str(pid))
            except OSError as error:
                del self._groups[controller]
                self._reasons[controller] = error.strerror or str(error)

    @property
    def layer(self) -> IsolationLayer:
        """The isolation layer, in force if both controllers are."""
        if not self._reasons:
            detail = f"{self.memory_bytes >> 20} MiB and {self._processes} processes for all sandboxes together"
            return IsolationLayer(name="cgroup", in_force=True, detail=detail)
        reasons = "; ".join(f"{controller}: {reason}" for controller, reason in self._reasons.items())
        return IsolationLayer(
            name="cgroup",
            in_force=False,
            detail=f"{reasons}; the supervisor watches the memory instead. To get one, let it create control groups "
            "(systemd: Delegate=yes)",
        )

    def close(self) -> None:
        """Remove the groups. Their processes must be dead."""
        deadline = time.monotonic() + _END_SECONDS
        for group in set(self._groups.values()):
            while not _remove(group) and time.monotonic() < deadline:
                time.sleep(0.01)


def _create(controller: str, limit: int) -> Path:
    """Create a group below this process's own and set its limit."""
    own, version = own_group(controller)
    for orphan in own.glob(f"{_NAME}-*"):  # left by a supervisor that was killed; a group in use cannot be removed
        supervisor_pid = orphan.name.rpartition("-")[2]
        if not Path("/proc", supervisor_pid).exists():  # a running one may not have used its group yet
            _remove(orphan)
    if version == 2:
        _delegate(own, controller)
    group = own / f"{_NAME}-{os.getpid()}"
    group.mkdir(exist_ok=True)
    try:
        (group / LIMIT_FILES[controller][version - 1]).write_text(str(limit))
    except OSError:
        _remove(group)
        raise
    return group


def own_group(controller: str) -> tuple[Path, int]:
    """Return this process's group in the hierarchy of `controller`, and the hierarchy's version.

    Raises:
        OSError: No such hierarchy is mounted.
    """
    paths = dict(_memberships())
    for mount, root, options in _mounts():
        key = controller if options else ""
        if key not in paths or (options and controller not in options):
            continue
        group = mount / os.path.relpath(paths[key], root)  # a container may see only its own part of the hierarchy
        if options:
            return group, 1
        if controller in read_words(group / "cgroup.controllers"):
            return group, 2
    raise FileNotFoundError(0, f"no hierarchy with the {controller} controller is mounted")


def _memberships() -> Iterator[tuple[str, str]]:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _mounts() -> Iterator[tuple[Path, str, set[str]]]:
    """Yield mount point, mounted root and controllers of each hierarchy; no controllers for version 2."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        root, mount = before.split()[3:5]
        kind, _, options = after.split(" ")
        if kind in ("cgroup", "cgroup2"):
            yield Path(mount), root, set(options.split(",")) if kind == "cgroup" else set()


def _delegate(own: Path, controller: str) -> None:
    """Enable `controller` for the groups below `own`. The kernel demands that no process is in `own` itself."""
    control = own / "cgroup.subtree_control"
    if controller in read_words(control):
        return
    try:
        control.write_text(f"+{controller}")
    except OSError:
        supervisor = own / f"{_NAME}-supervisor"
        supervisor.mkdir(exist_ok=True)
        (supervisor / "cgroup.procs").write_text(str(os.getpid()))
        control.write_text(f"+{controller}")


def read_words(file: Path) -> list[str]:
    """Return the words of `file`; none if it cannot be read."""
    try:
        return file.read_text().split()
    except OSError:
        return []


def _remove(group: Path) -> bool:
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()

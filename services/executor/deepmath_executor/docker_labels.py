"""Container labels that name the supervisor process, so that a later supervisor recognises orphaned containers."""

import json
import os
from pathlib import Path

LABEL = "deepmath.executor.supervisor"


def own_label() -> str:
    """Return the label value of this process, unique to one process of one boot of one machine."""
    return json.dumps([*_boot_and_pid_namespace(), os.getpid(), _start_ticks(os.getpid())])


def is_own(label: str) -> bool:
    """Return whether this process wrote `label`."""
    return label == own_label()


def is_orphaned(label: str) -> bool:
    """Return whether the process that wrote `label` has certainly ended.

    A process in another pid namespace cannot be seen from here and counts as alive.
    """
    try:
        boot, pid_namespace, pid, start_ticks = json.loads(label)
    except ValueError:  # not a label of ours
        return False
    own_boot, own_pid_namespace = _boot_and_pid_namespace()
    if boot != own_boot:
        return True
    return bool(pid_namespace == own_pid_namespace and _start_ticks(pid) != start_ticks)


def _boot_and_pid_namespace() -> tuple[str, int]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return boot, Path("/proc/self/ns/pid").stat().st_ino


def _start_ticks(pid: int) -> int:
    """Return the start time of a process in clock ticks since boot; 0 if there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[19])  # field 22 of proc(5), counted after the command name

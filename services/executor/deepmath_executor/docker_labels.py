"""Which supervisor a container belongs to, and whether that is still there: who has died cannot tidy up."""

import json
import os
from pathlib import Path

LABEL = "deepmath.executor.supervisor"


def own_label() -> str:
    """What this process writes on its containers: it names one process of one boot of one machine."""
    return json.dumps([*_place(), os.getpid(), _started(os.getpid())])


def is_own(label: str) -> bool:
    """Whether `label` is this process's."""
    return label == own_label()


def is_of_dead(label: str) -> bool:
    """Whether the process that wrote `label` is surely gone. One in another pid namespace cannot be seen from here."""
    try:
        boot, space, pid, started = json.loads(label)
    except ValueError:  # not written by us
        return False
    if boot != _place()[0]:
        return True
    return bool(space == _place()[1] and _started(pid) != started)


def _place() -> tuple[str, int]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return boot, Path("/proc/self/ns/pid").stat().st_ino


def _started(pid: int) -> int:
    """When the process was started, in clock ticks since boot; 0 where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[19])  # number 22 of proc(5), counted behind the name

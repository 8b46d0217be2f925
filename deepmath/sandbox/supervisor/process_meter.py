"""Measurements of a sandbox's process by the kernel, and resource limits set on it from outside."""

import math
import os
import resource
import time
from pathlib import Path

from deepmath.sandbox.isolation import rlimits

_CPUCLOCK_SCHED = 2  # <linux/posix-timers.h>: the clock id of a process is ~pid << 3 | this
_FLAGS, _PF_EXITING = 6, 0x4  # field 9 of /proc/PID/stat, index 6 after the name: proc(5); <linux/sched.h>


class ProcessMeter:
    """Measures the process behind `pidfd`. Once the process is gone, every method raises OSError."""

    def __init__(self, pidfd: int) -> None:
        self.pid = _pid_of(pidfd)
        # Kept open: the descriptor stays bound to this process even if its id is reused.
        self._status = os.open(f"/proc/{self.pid}/status", os.O_RDONLY | os.O_CLOEXEC)
        self._clock = (~self.pid << 3) | _CPUCLOCK_SCHED
        _, self._hard_address_space = rlimits.exchange(self.pid, resource.RLIMIT_AS)
        _, self._hard_cpu = rlimits.exchange(self.pid, resource.RLIMIT_CPU)
        self._address_space = 0

    def cpu_seconds(self) -> float:
        """Return the processor time that the process has used."""
        return time.clock_gettime(self._clock)

    def status_bytes(self, *fields: str) -> list[int]:
        """Return fields of /proc/PID/status such as VmHWM, in bytes."""
        text = os.pread(self._status, 4096, 0)
        values = []
        for field in fields:
            at = text.find(field.encode() + b":")
            if at < 0:  # dead but not reaped, so without memory fields
                raise ProcessLookupError("the sandbox is dead")
            values.append(int(text[at : text.index(b"\n", at)].split()[1]) << 10)
        return values

    def status(self) -> dict[str, str]:
        """Return all fields of /proc/PID/status."""
        lines = os.pread(self._status, 4096, 0).decode().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def exiting(self) -> bool:
        """Whether the process is dead or exiting. An exiting process closes its descriptors before it is dead."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return True
        return bool(int(fields[_FLAGS]) & _PF_EXITING)

    def limit_address_space(self, limit: int) -> None:
        """Set RLIMIT_AS, in bytes. Seccomp keeps the process from changing it."""
        if limit != self._address_space:
            soft = limit if self._hard_address_space == resource.RLIM_INFINITY else min(limit, self._hard_address_space)
            rlimits.exchange(self.pid, resource.RLIMIT_AS, (soft, self._hard_address_space))
            self._address_space = limit

    def limit_cpu(self, seconds: float) -> None:
        """Set RLIMIT_CPU, in seconds since the start of the process, rounded up."""
        rlimits.exchange(self.pid, resource.RLIMIT_CPU, (math.ceil(seconds), self._hard_cpu))

    def close(self) -> None:
        """Close the descriptor of the status file."""
        os.close(self._status)


def _pid_of(pidfd: int) -> int:
    info = Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines()
    pid = next(int(line.split()[1]) for line in info if line.startswith("Pid:"))
    if pid <= 0:
        raise ProcessLookupError("the sandbox is gone")
    return pid

"""What the kernel says of a sandbox's process, and the limits that are set on it from outside."""

import math
import os
import resource
import time
from pathlib import Path

from deepmath.sandbox.isolation import rlimits

_CPUCLOCK_SCHED = 2  # <linux/posix-timers.h>: the clock of a whole process is ~pid << 3 with this
_FLAGS, _PF_EXITING = 6, 0x4  # number 9 of /proc/PID/stat, counted behind the name: proc(5); <linux/sched.h>


class ProcessMeter:
    """Measures the process behind `pidfd`. Once it is gone every method raises OSError."""

    def __init__(self, pidfd: int) -> None:
        self.pid = _pid_of(pidfd)
        # Kept open: it stays this process's and never becomes that of a later one with the same number.
        self._status = os.open(f"/proc/{self.pid}/status", os.O_RDONLY | os.O_CLOEXEC)
        self._clock = (~self.pid << 3) | _CPUCLOCK_SCHED
        _, self._hard_address_space = rlimits.exchange(self.pid, resource.RLIMIT_AS)
        _, self._hard_cpu = rlimits.exchange(self.pid, resource.RLIMIT_CPU)
        self._address_space = 0

    def cpu_seconds(self) -> float:
        """Processor time that the process has used."""
        return time.clock_gettime(self._clock)

    def status_bytes(self, *fields: str) -> list[int]:
        """Fields of /proc/PID/status such as VmHWM, in bytes."""
        text = os.pread(self._status, 4096, 0)
        values = []
        for field in fields:
            at = text.find(field.encode() + b":")
            if at < 0:  # a process that is dead but not reaped has no memory
                raise ProcessLookupError("the sandbox is dead")
            values.append(int(text[at : text.index(b"\n", at)].split()[1]) << 10)
        return values

    def status(self) -> dict[str, str]:
        """All fields of /proc/PID/status."""
        lines = os.pread(self._status, 4096, 0).decode().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def exiting(self) -> bool:
        """Whether the process is dead or dying: it lets go of its descriptors before it is dead."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return True
        return bool(int(fields[_FLAGS]) & _PF_EXITING)

    def limit_address_space(self, limit: int) -> None:
        """Set RLIMIT_AS in bytes. The process cannot change it: seccomp denies the call."""
        if limit != self._address_space:
            soft = limit if self._hard_address_space == resource.RLIM_INFINITY else min(limit, self._hard_address_space)
            rlimits.exchange(self.pid, resource.RLIMIT_AS, (soft, self._hard_address_space))
            self._address_space = limit

    def limit_cpu(self, seconds: float) -> None:
        """Set RLIMIT_CPU, which counts whole seconds from the start of the process."""
        rlimits.exchange(self.pid, resource.RLIMIT_CPU, (math.ceil(seconds), self._hard_cpu))

    def close(self) -> None:
        """Let go of the process."""
        os.close(self._status)


def _pid_of(pidfd: int) -> int:
    info = Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines()
    pid = next(int(line.split()[1]) for line in info if line.startswith("Pid:"))
    if pid <= 0:
        raise ProcessLookupError("the sandbox is gone")
    return pid

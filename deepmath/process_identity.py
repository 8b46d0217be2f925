"""Identity of a process that a later process with the same number does not have."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

_STATE, _START_TICKS = 0, 19  # fields 3 and 22 of proc(5), counted after the command name
_ENDED = ("Z", "X")


class ProcessIdentity(NamedTuple):
    """A process by its number and start time, within one boot of one machine and one pid namespace.

    Process numbers are reused, and a machine or a container starts again with low ones.
    """

    boot: str
    pid_namespace: int
    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return the identity of a running process. The start time of one that has ended is 0."""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return cls(boot, Path("/proc/self/ns/pid").stat().st_ino, pid, start_ticks(pid))

    @property
    def is_running(self) -> bool:
        """Whether the process runs, as far as this process can see it: not that of another container."""
        return self.start_ticks > 0 and self == self.of(self.pid)

    @property
    def has_ended(self) -> bool:
        """Whether the process has certainly ended. One in another pid namespace may run."""
        own = self.of(self.pid)
        return self.boot != own.boot or (self.pid_namespace == own.pid_namespace and not self.is_running)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to this process and no other. Does nothing if it has ended."""
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.is_running:  # checked after the descriptor holds the process
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)


def start_ticks(pid: int) -> int:
    """Return the start time of a process in clock ticks since boot; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[_STATE] in _ENDED else int(fields[_START_TICKS])

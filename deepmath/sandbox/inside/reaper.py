"""Parent of a zygote and its sandboxes: process 1 of their pid namespace, which reports how each of them ended.

The reaper is small and does nothing else, so that it outlives a zygote that died or was replaced, and keeps the
sandboxes alive with it. When the supervisor closes its socket the reaper exits, and every process below it dies
(`zygote.py`). Outside a pid namespace of its own it kills and reaps them first: nobody else may.
"""

import contextlib
import json
import os
import select
import signal
import socket
from pathlib import Path


class Reaper:
    """Waits for child processes.

    Sends {"ended": PID, "status": wait status, "cpu_ms": ..., "peak_memory_bytes": ...} for each sandbox.
    """

    def __init__(self, report: socket.socket, zygote: int, once: bool) -> None:
        self._report = report
        self._zygote = zygote
        self._once = once
        self._ended = 0

    def serve(self) -> None:
        """Reap until the supervisor closes its socket or, with `once`, until a sandbox has ended."""
        wakeup_read, wakeup_write = os.pipe()
        for end in (wakeup_read, wakeup_write):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(wakeup_read, select.POLLIN)
        poll.register(self._report, select.POLLIN)
        while self._reap():
            for descriptor, _ in poll.poll():
                if descriptor == self._report.fileno():  # the supervisor never sends, so this is the end of the stream
                    return
                os.read(wakeup_read, 1 << 12)

    def end_children(self) -> None:
        """Kill and reap every child, where the kernel lists them. None has children of its own."""
        listed = Path("/proc/thread-self/children")
        with contextlib.suppress(OSError):
            while children := listed.read_text().split():
                for child in children:
                    # A zygote that is still root ends by itself, since its supervisor is gone.
                    with contextlib.suppress(PermissionError):
                        os.kill(int(child), signal.SIGKILL)
                for _ in children:
                    os.wait()

    def _reap(self) -> bool:
        """Report the processes that have ended; return whether to wait for more."""
        try:
            while (child := os.wait4(-1, os.WNOHANG))[0]:
                pid, status, usage = child
                if pid != self._zygote:
                    self._send(pid, status, 1e3 * (usage.ru_utime + usage.ru_stime), usage.ru_maxrss << 10)
                    self._ended += 1
        except ChildProcessError:
            return not self._once
        return not (self._once and self._ended)

    def _send(self, pid: int, status: int, cpu_ms: float, peak_memory_bytes: int) -> None:
        message = {"ended": pid, "status": status, "cpu_ms": cpu_ms, "peak_memory_bytes": peak_memory_bytes}
        try:
            self._report.send(json.dumps(message).encode())
        except OSError:  # the supervisor has closed its end, which the poll sees too
            pass

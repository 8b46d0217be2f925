"""The parent of a zygote and its sandboxes: process 1 of their namespace, reaps them, and says how each ended.

It is small and does nothing else, so that it outlives a zygote that died or was replaced, and the sandboxes with it.
When the supervisor hangs up it exits, and every process below it dies (`zygote.py` tells how).
"""

import json
import os
import select
import signal
import socket


class Reaper:
    """Sends {"ended": PID, "status": as of waitpid, "cpu_ms": ..., "peak_memory_bytes": ...} for each sandbox."""

    def __init__(self, report: socket.socket, zygote: int, once: bool) -> None:
        self._report = report
        self._zygote = zygote
        self._once = once
        self._ended = 0

    def serve(self) -> None:
        """Reap until the supervisor hangs up or, with `once`, until a sandbox has ended and the zygote too."""
        woken, wake = os.pipe()
        for end in (woken, wake):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(woken, select.POLLIN)
        poll.register(self._report, select.POLLIN)
        while self._reap():
            for descriptor, _ in poll.poll():
                if descriptor == self._report.fileno():  # it never sends: it has hung up
                    return
                os.read(woken, 1 << 12)

    def _reap(self) -> bool:
        """Report who has ended by now; return whether there is more to do."""
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
        except OSError:  # the supervisor has hung up, which the poll tells too
            pass

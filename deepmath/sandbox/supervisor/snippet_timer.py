"""Timer of a running snippet: enforces its wall-clock and processor-time limits."""

import asyncio
from collections.abc import Callable

from deepmath.executor.v1 import executor_pb2 as pb

_SHORTEST_CHECK_SECONDS = 0.001
_SIGNALS_IN_GRACE = 4


class SnippetTimer:
    """Interrupts a snippet at its limit, repeats that during the grace period, and then kills it.

    A sandbox has one thread, so its processor time never grows faster than wall-clock time: with L seconds left, the
    next check is L seconds away.

    Args:
        grace_s: Seconds between the first interrupt and the kill.
        cpu_seconds: Returns the processor time that the process has used. Raises OSError if it is dead.
        interrupt: Sends the signal that raises in the snippet.
        kill: Kills the process; called with the outcome and the loop time at which the limit was reached.
    """

    def __init__(
        self,
        grace_s: float,
        cpu_seconds: Callable[[], float],
        interrupt: Callable[[], None],
        kill: Callable[[pb.Outcome.ValueType, float], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._grace_s = grace_s
        self._cpu_seconds = cpu_seconds
        self._interrupt = interrupt
        self._kill = kill
        self._handle: asyncio.TimerHandle | None = None
        self.expired: pb.Outcome.ValueType | None = None
        """Outcome of the limit that the snippet reached, if any. Reset it before the next snippet."""

    def start(self, deadline: float, cpu_deadline: float) -> None:
        """Watch both limits: `deadline` in loop time, `cpu_deadline` in processor time of the process, in seconds."""
        now = self._loop.time()
        if now >= deadline:
            self._expire(pb.OUTCOME_WALL_TIMEOUT, now)
            return
        try:
            left = cpu_deadline - self._cpu_seconds()
        except OSError:  # the process is dead
            return
        if left <= 0:
            self._expire(pb.OUTCOME_CPU_TIMEOUT, now)
            return
        next_check = min(deadline, now + max(left, _SHORTEST_CHECK_SECONDS))
        self._handle = self._loop.call_at(next_check, self.start, deadline, cpu_deadline)

    def cancel(self) -> None:
        """Stop watching."""
        if self._handle is not None:
            self._handle.cancel()

    def _expire(self, outcome: pb.Outcome.ValueType, reached: float) -> None:
        """Interrupt the snippet, which reached its limit at loop time `reached`; kill it once the grace is over."""
        now = self._loop.time()
        self.expired = outcome
        end = reached + self._grace_s
        if now >= end:
            self._kill(outcome, reached)
            return
        self._interrupt()
        self._handle = self._loop.call_at(
            min(end, now + self._grace_s / _SIGNALS_IN_GRACE), self._expire, outcome, reached
        )

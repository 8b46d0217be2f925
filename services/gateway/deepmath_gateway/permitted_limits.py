"""Limits for snippets of protocols that know no maximum: what a client wants, as far as the executors permit it."""

import asyncio
import time

from deepmath.clients import ExecutorClient
from deepmath.errors import Overloaded, Unavailable
from deepmath.executor.v1 import executor_pb2 as pb

_FRESH_S = 30.0
_INFO_DEADLINE_S = 5.0


class PermittedLimits:
    """Fits limits into the maximum of the executors, which is read again every half minute."""

    def __init__(self, executor: ExecutorClient) -> None:
        self._executor = executor
        self._maximum = pb.Limits()
        self._read_at = -_FRESH_S
        self._lock = asyncio.Lock()

    async def fit(self, wall_s: float = 0.0, memory_bytes: int = 0, output_bytes: int = 0) -> pb.Limits:
        """Return limits of at most these values and the executors' maximum.

        0 means the maximum of time and output, and the executors' default of memory. Processor time is limited like
        wall time.

        Raises:
            Unavailable: No executor could be reached.
        """
        most = await self._read()
        wall_ms = max(1, round(1000 * min(wall_s, most.wall_ms / 1000))) if wall_s else most.wall_ms
        return pb.Limits(
            wall_ms=wall_ms,
            cpu_ms=min(wall_ms, most.cpu_ms),
            memory_bytes=min(memory_bytes, most.memory_bytes),
            output_bytes=min(output_bytes or most.output_bytes, most.output_bytes),
        )

    async def _read(self) -> pb.Limits:
        async with self._lock:
            if time.monotonic() - self._read_at >= _FRESH_S:
                try:
                    info = await self._executor.get_info(min(_INFO_DEADLINE_S, self._executor.patience_s))
                    self._maximum = info.maximum_limits
                except (Unavailable, Overloaded):
                    if not self._maximum.wall_ms:  # else the snippet itself finds out
                        raise
                self._read_at = time.monotonic()
            return self._maximum

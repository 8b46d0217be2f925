"""Admission control: a bounded number of running trajectories, and a bounded queue in front of them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from deepmath.errors import InvalidRequest, Overloaded

_RETRY_AFTER_MS = 1000


class TrajectoryAdmission:
    """A bounded queue in front of `slots` running trajectories."""

    def __init__(self, slots: int, waiting: int) -> None:
        self.slots = slots
        self.capacity = slots + waiting
        self.admitted = 0
        self._free = asyncio.Semaphore(slots)

    @contextmanager
    def admit(self, count: int) -> Iterator[None]:
        """Reserve room for `count` trajectories, running or queued.

        Raises:
            InvalidRequest: There is not so much room even when nothing else runs.
            Overloaded: The queue is full.
        """
        if count > self.capacity:
            raise InvalidRequest(
                f"{count} trajectories in one request exceed {self.capacity}, the most that this generator runs and "
                "queues together; send several requests, or raise --max-trajectories or --max-waiting"
            )
        if self.admitted + count > self.capacity:
            raise Overloaded(
                f"{self.admitted} trajectories are running or queued, and {count} more would exceed the limit of "
                f"{self.capacity}; retry later or with fewer",
                _RETRY_AFTER_MS,
            )
        self.admitted += count
        try:
            yield
        finally:
            self.admitted -= count

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it for the block."""
        async with self._free:
            yield

    @property
    def live(self) -> int:
        """Number of running trajectories."""
        return min(self.admitted, self.slots)

    @property
    def waiting(self) -> int:
        """Number of queued trajectories."""
        return self.admitted - self.live

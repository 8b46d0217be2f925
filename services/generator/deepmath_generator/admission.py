"""How many trajectories run at once, and how many may wait for that."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from deepmath.errors import Overloaded

_RETRY_AFTER_MS = 1000


class TrajectoryAdmission:
    """A bounded queue in front of a bounded number of slots."""

    def __init__(self, slots: int, waiting: int) -> None:
        self.slots = slots
        self.capacity = slots + waiting
        self.admitted = 0
        self._free = asyncio.Semaphore(slots)

    @contextmanager
    def admit(self, count: int) -> Iterator[None]:
        """Hold room for `count` trajectories, running or waiting.

        Raises:
            Overloaded: there is not so much room.
        """
        if self.admitted + count > self.capacity:
            raise Overloaded(
                f"{self.admitted} trajectories are running or waiting and {count} more would go over {self.capacity}; "
                "come again later or with fewer",
                _RETRY_AFTER_MS,
            )
        self.admitted += count
        try:
            yield
        finally:
            self.admitted -= count

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it."""
        async with self._free:
            yield

    @property
    def live(self) -> int:
        """Trajectories running."""
        return min(self.admitted, self.slots)

    @property
    def waiting(self) -> int:
        """Trajectories admitted that wait for a slot."""
        return self.admitted - self.live

"""Round-robin queue: free slots rotate among the waiting callers; each caller's items run first come, first served."""

from collections import Counter, deque
from typing import Generic, TypeVar

Caller = TypeVar("Caller")
Item = TypeVar("Item")


class FairQueue(Generic[Caller, Item]):
    """Items that wait for one of `slots`. A caller holds at most `per_caller` slots (0: no per-caller limit).

    A new caller waits for one turn of each caller ahead of it, however many items they have queued.
    """

    def __init__(self, slots: int, per_caller: int = 0) -> None:
        self.slots = slots
        self.queued = self.running = 0
        self._per_caller = per_caller or slots
        self._running: Counter[Caller] = Counter()
        self._waiting: dict[Caller, deque[Item]] = {}  # in the order of their turns

    def push(self, caller: Caller, item: Item) -> None:
        """Queue `item`. A caller with nothing queued joins the rotation at its end."""
        self._waiting.setdefault(caller, deque()).append(item)
        self.queued += 1

    def withdraw(self, caller: Caller, item: Item) -> None:
        """Remove a queued `item`."""
        self._waiting[caller].remove(item)
        if not self._waiting[caller]:
            del self._waiting[caller]
        self.queued -= 1

    def pop(self) -> Item | None:
        """Assign a slot to the next item and return it; None if no slot is free or no waiting caller may take one."""
        if self.running >= self.slots:
            return None
        caller = next((caller for caller in self._waiting if self._running[caller] < self._per_caller), None)
        if caller is None:
            return None
        items = self._waiting.pop(caller)
        item = items.popleft()
        if items:
            self._waiting[caller] = items  # to the end of the rotation
        self._running[caller] += 1
        self.queued -= 1
        self.running += 1
        return item

    def finish(self, caller: Caller) -> None:
        """Free the slot of one of the caller's items."""
        self._running[caller] -= 1
        if not self._running[caller]:
            del self._running[caller]
        self.running -= 1

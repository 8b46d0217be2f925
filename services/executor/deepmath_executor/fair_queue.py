"""Who is next: free slots go round the callers that wait, in turn; within a caller, first come, first served."""

from collections import Counter, deque
from typing import Generic, TypeVar

Caller = TypeVar("Caller")
Item = TypeVar("Item")


class FairQueue(Generic[Caller, Item]):
    """Items that wait for one of `slots`, at most `per_caller` of a caller's holding one (0: as many as there are).

    Whoever comes with one item waits for one turn of the callers before it, however many items each of them has.
    """

    def __init__(self, slots: int, per_caller: int = 0) -> None:
        self.slots = slots
        self.queued = self.running = 0
        self._per_caller = per_caller or slots
        self._running: Counter[Caller] = Counter()
        self._waiting: dict[Caller, deque[Item]] = {}  # in the order of their turns

    def push(self, caller: Caller, item: Item) -> None:
        """Queue `item`. A caller that had none waiting is put behind those that have."""
        self._waiting.setdefault(caller, deque()).append(item)
        self.queued += 1

    def withdraw(self, caller: Caller, item: Item) -> None:
        """Take an `item` out of the queue that is still in it."""
        self._waiting[caller].remove(item)
        if not self._waiting[caller]:
            del self._waiting[caller]
        self.queued -= 1

    def pop(self) -> Item | None:
        """Give a slot to the item whose turn it is and return it; None where no slot is free or nobody may have it."""
        if self.running >= self.slots:
            return None
        caller = next((caller for caller in self._waiting if self._running[caller] < self._per_caller), None)
        if caller is None:
            return None
        items = self._waiting.pop(caller)
        item = items.popleft()
        if items:
            self._waiting[caller] = items  # behind the others
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

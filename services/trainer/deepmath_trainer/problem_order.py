"""The order in which the problems of a run come, as a function of its seed."""

from dataclasses import dataclass
from functools import lru_cache
from random import Random


@dataclass(frozen=True)
class ProblemOrder:
    """An endless sequence over `count` problems: each epoch is another permutation, determined by `seed`."""

    count: int
    seed: int

    def indices(self, start: int, count: int) -> list[int]:
        """Return the problems at `count` positions from `start`. The position is the only state."""
        places = (divmod(position, self.count) for position in range(start, start + count))
        return [_permutation(self.count, self.seed, epoch)[place] for epoch, place in places]


@lru_cache(maxsize=4)
def _permutation(count: int, seed: int, epoch: int) -> list[int]:
    order = list(range(count))
    Random(f"{seed}:{epoch}").shuffle(order)  # a string seeds by its SHA-512, the same in every process
    return order

"""Pauses between attempts, as gRPC's own retries have them (gRFC A6): growing, bounded, and not in step with others."""

import random
from collections.abc import Iterator

_FIRST_S, _LONGEST_S = 0.05, 2.0
_FACTOR = 2.0
_JITTER = 0.2


def pauses() -> Iterator[float]:
    """Yield the pause before each further attempt in seconds, for ever."""
    pause = _FIRST_S
    while True:
        yield pause * random.uniform(1 - _JITTER, 1 + _JITTER)
        pause = min(_FACTOR * pause, _LONGEST_S)

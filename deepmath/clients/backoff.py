"""Exponential backoff with jitter, with the shape of gRPC's own retries (gRFC A6)."""

import random
from collections.abc import Iterator

_INITIAL_S, _MAX_S = 0.05, 2.0
_MULTIPLIER = 2.0
_JITTER = 0.2


def pauses() -> Iterator[float]:
    """Yield the pause before each further attempt in seconds, without end."""
    pause = _INITIAL_S
    while True:
        yield pause * random.uniform(1 - _JITTER, 1 + _JITTER)
        pause = min(_MULTIPLIER * pause, _MAX_S)

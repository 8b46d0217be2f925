"""Per-client limits on concurrent calls and call rate."""

import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

from deepmath.access.rate_limit import RateLimit
from deepmath.access.tokens import TokenClient
from deepmath.errors import Overloaded

_RETRY_MS = 500
_JITTER = 0.5  # calls rejected together should not be retried together


class Quota:
    """Counts the calls of one client against its limits, which may change between calls."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls = 0
        self._rate_settings = (0.0, 1)
        self._rate: RateLimit[str] = RateLimit(*self._rate_settings)

    @contextmanager
    def call(self, client: TokenClient) -> Iterator[None]:
        """Count a call for the duration of the block.

        Raises:
            Overloaded: It exceeds the limit on concurrent calls or on the call rate.
        """
        if (settings := (client.calls_per_second, client.burst)) != self._rate_settings:
            self._rate_settings, self._rate = settings, RateLimit(*settings)
        if client.max_calls and self._calls >= client.max_calls:
            retry_ms = round(_RETRY_MS * random.uniform(1, 1 + _JITTER))
            raise Overloaded(f"{self._name} has {self._calls} calls in flight, which is its limit", retry_ms)
        if delay := self._rate.delay(self._name, time.monotonic()):
            raise Overloaded(f"{self._name} exceeds its call rate; retry later", math.ceil(1e3 * delay))
        self._rate.take(self._name, time.monotonic())
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

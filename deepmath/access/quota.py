"""How much a client with a token may ask for at once and in a time."""

import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

from deepmath.access.rate_limit import RateLimit
from deepmath.access.tokens import TokenClient
from deepmath.errors import Overloaded

_RETRY_MS = 500
_JITTER = 0.5  # those refused together shall not come back together


class Quota:
    """Counts the calls of one client against its limits, which may change in between."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls = 0
        self._numbers = (0.0, 1)
        self._rate: RateLimit[str] = RateLimit(*self._numbers)

    @contextmanager
    def call(self, client: TokenClient) -> Iterator[None]:
        """Count a call.

        Raises:
            Overloaded: it is one too many, at once or for its time.
        """
        if (numbers := (client.calls_per_second, client.burst)) != self._numbers:
            self._numbers, self._rate = numbers, RateLimit(*numbers)
        if client.max_calls and self._calls >= client.max_calls:
            retry_ms = round(_RETRY_MS * random.uniform(1, 1 + _JITTER))
            raise Overloaded(f"{self._name} has {self._calls} calls in flight and may have no more: end one", retry_ms)
        if delay := self._rate.delay(self._name, time.monotonic()):
            raise Overloaded(f"{self._name} calls too often; come again later", math.ceil(1e3 * delay))
        self._rate.take(self._name, time.monotonic())
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

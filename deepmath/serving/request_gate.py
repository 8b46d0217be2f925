"""Gate for the requests of unary calls: so many are received at once, each by a deadline."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from deepmath.errors import InvalidRequest


class CallerPlaces:
    """A number of `places`, at most half of them (but one at least) for one caller."""

    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._per_caller = max(1, places // 2)
        self._callers: dict[str, asyncio.Semaphore] = {}
        self._calls: dict[str, int] = {}

    @asynccontextmanager
    async def take(self, caller: str) -> AsyncIterator[None]:
        """Hold a place for the duration of the block; wait for one before."""
        own = self._callers.setdefault(caller, asyncio.Semaphore(self._per_caller))
        self._calls[caller] = self._calls.get(caller, 0) + 1
        try:
            async with own, self._places:
                yield
        finally:
            self._calls[caller] -= 1
            if not self._calls[caller]:
                del self._calls[caller], self._callers[caller]


class RequestGate:
    """Receives at most `places` requests at once, at most half of them (but one at least) from one caller.

    An unfinished request is held in memory, so `places` times the size limit of a message bounds that memory. A request
    that has not arrived within `seconds` ends its call.
    """

    def __init__(self, places: int, seconds: float) -> None:
        self._places = CallerPlaces(places)
        self._seconds = seconds

    async def receive(self, context: Any, caller: str) -> Any:
        """Return the request of the call that `context` belongs to.

        Raises:
            InvalidRequest: The client sent no request, or not all of it in time.
        """
        async with self._places.take(caller):
            try:
                async with asyncio.timeout(self._seconds):
                    request = await context.read()
            except TimeoutError:
                raise InvalidRequest(f"the request did not arrive within {self._seconds:g} s") from None
        if request is grpc.aio.EOF:
            raise InvalidRequest("the call ended without a request")
        return request

"""Whether the generator can reach an executor, as GetInfo reports it."""

import asyncio
import time

from deepmath.clients import ExecutorClient
from deepmath.errors import Forbidden, Unauthenticated, Unavailable

_CACHE_S = 2.0
_TIMEOUT_S = 1.0  # a trainer waits for the answer


class ExecutorReachability:
    """Checks the executors behind `client`, at most every two seconds however often it is called."""

    def __init__(self, client: ExecutorClient | None) -> None:
        self._client = client
        self._lock = asyncio.Lock()
        self._failure, self._expires = "", 0.0

    async def failure(self) -> str:
        """Return why no executor can be reached; an empty string if one can, or if there is no client."""
        if self._client is None:
            return ""
        async with self._lock:
            if time.monotonic() > self._expires:
                try:
                    await self._client.get_info(_TIMEOUT_S)
                except (Unavailable, Unauthenticated, Forbidden) as error:
                    self._failure = str(error)
                else:
                    self._failure = ""
                self._expires = time.monotonic() + _CACHE_S
            return self._failure

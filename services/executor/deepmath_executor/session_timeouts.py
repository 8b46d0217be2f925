"""Idle timeout and maximum age of a session."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from deepmath.errors import Unavailable

_REPLAY = "open a new session and replay its snippets there"

Message = TypeVar("Message")


class SessionTimeouts:
    """Ends one session when it is idle or too old, but never while a snippet runs. The age counts from construction."""

    def __init__(self, idle_s: float, lifetime_s: float) -> None:
        self._idle_s = idle_s
        self._lifetime_s = lifetime_s
        self._end = time.monotonic() + lifetime_s

    async def next(self, read: Callable[[], Awaitable[Message]]) -> Message:
        """Return the client's next message.

        Raises:
            Unavailable: No message arrived for `idle_s` seconds, or the session is `lifetime_s` seconds old.
        """
        left = self._end - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            async with asyncio.timeout(min(left, self._idle_s)):
                return await read()
        except TimeoutError:
            aged = left <= self._idle_s
            reason = f"was {self._lifetime_s:g} s old" if aged else f"was idle for {self._idle_s:g} s"
            raise Unavailable(f"the session {reason} and was closed; {_REPLAY}") from None

    async def send(self, writing: Awaitable[None]) -> None:
        """Wait until the client has read a message, also past the session's maximum age.

        Raises:
            Unavailable: The client did not read it for `idle_s` seconds.
        """
        try:
            async with asyncio.timeout(self._idle_s):
                await writing
        except TimeoutError:
            raise Unavailable(f"the client did not read a result for {self._idle_s:g} s; {_REPLAY}") from None

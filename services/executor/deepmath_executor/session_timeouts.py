"""How long a session may wait for its client, and how long it may go on in all."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from deepmath.errors import Unavailable

_REPLAY = "open another and run its snippets again there"

Message = TypeVar("Message")


class SessionTimeouts:
    """Begins when it is made. Its end cuts no snippet short: it is looked at where the client has the next word."""

    def __init__(self, idle_s: float, whole_s: float) -> None:
        self._idle_s = idle_s
        self._whole_s = whole_s
        self._end = time.monotonic() + whole_s

    async def next(self, read: Callable[[], Awaitable[Message]]) -> Message:
        """Return the client's next message.

        Raises:
            Unavailable: none came for `idle_s` seconds, or the session is `whole_s` seconds old.
        """
        left = self._end - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            async with asyncio.timeout(min(left, self._idle_s)):
                return await read()
        except TimeoutError:
            reason = f"was {self._whole_s:g} s old" if left <= self._idle_s else f"was idle for {self._idle_s:g} s"
            raise Unavailable(f"the session {reason} and was ended; {_REPLAY}") from None

    async def send(self, writing: Awaitable[None]) -> None:
        """Wait until the client has taken a message. There is time for it even at the session's end.

        Raises:
            Unavailable: it took none for `idle_s` seconds.
        """
        try:
            async with asyncio.timeout(self._idle_s):
                await writing
        except TimeoutError:
            raise Unavailable(f"the client read no result for {self._idle_s:g} s; {_REPLAY}") from None

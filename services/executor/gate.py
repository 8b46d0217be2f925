"""Who may come in and who may run: sessions are refused when full, snippets queue in the order of their arrival."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from deepmath.errors import Overloaded, Unavailable

_RETRY_AFTER_MS = 1000
_DRAINING = "this executor is shutting down; open the session on another"

Message = TypeVar("Message")


class Gate:
    """Counts sessions and running snippets against their maxima."""

    def __init__(self, max_sessions: int, max_running: int) -> None:
        self.max_sessions = max_sessions
        self.max_running = max_running
        self.sessions = self.running = self.queued = 0
        self._draining = False
        self._idle: set[asyncio.Task[Any]] = set()
        self._slots = asyncio.Semaphore(max_running)

    def drain(self) -> None:
        """Admit no further session and end those that wait for their client; snippets that run go on."""
        self._draining = True
        for task in self._idle:
            task.cancel()

    @contextmanager
    def session(self) -> Iterator[None]:
        """Hold a place for a session.

        Raises:
            Overloaded: there is none.
            Unavailable: the service is draining.
        """
        if self._draining:
            raise Unavailable(_DRAINING)
        if self.sessions >= self.max_sessions:
            raise Overloaded(f"all {self.max_sessions} sessions are taken; come again later", _RETRY_AFTER_MS)
        self.sessions += 1
        try:
            yield
        finally:
            self.sessions -= 1

    async def idle(self, reading: Awaitable[Message]) -> Message:
        """Wait for the client's next message.

        Raises:
            Unavailable: the service is draining.
        """
        task = asyncio.current_task()
        assert task is not None
        self._idle.add(task)
        if self._draining:
            task.cancel()
        try:
            return await reading
        except asyncio.CancelledError:
            if self._draining and task.uncancel() == 0:
                raise Unavailable(_DRAINING) from None
            raise
        finally:
            self._idle.discard(task)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Queue for the right to run a snippet and hold it."""
        self.queued += 1
        try:
            await self._slots.acquire()
        finally:
            self.queued -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._slots.release()

"""Our clients for callers that know no asyncio: an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from threading import Thread, current_thread
from typing import Any, Generic, TypeVar, cast
from weakref import WeakSet

_SETTLE_SECONDS = 1.0

T = TypeVar("T")


class BackgroundLoop:
    """Runs coroutines for other threads, in the context of who asks: spans and request ids go with them."""

    def __init__(self) -> None:
        self.closed = False
        self._loop = asyncio.new_event_loop()
        self._running: set[Future[Any]] = set()
        self._streams: WeakSet[Stream[Any]] = WeakSet()
        self._held = AsyncExitStack()
        # A daemon: a program may end without closing this. Its end is also the end of what was started from it.
        self._thread = Thread(target=self._loop.run_forever, name="deepmath", daemon=True)
        self._thread.start()

    async def hold(self, context: AbstractAsyncContextManager[T]) -> T:
        """Enter `context`, which `close` leaves. To be awaited in the loop."""
        return await self._held.enter_async_context(context)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin `coroutine`. Cancelling the future cancels it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what `coroutine` returns, or raise what it raises. Ctrl-C cancels it.

        Raises:
            concurrent.futures.CancelledError: the loop was closed meanwhile.
        """
        future = self.submit(coroutine)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncIterator[T]) -> Stream[T]:
        """Return an iterator over `items`, an asynchronous generator."""
        stream = Stream(self, items)
        self._streams.add(stream)
        return stream

    def close(self) -> None:
        """Cancel what runs, leave what is held, and end the thread; nothing if that was done. From any thread."""
        if current_thread() is self._thread:  # the garbage collector's, which may be any
            Thread(target=self.close, daemon=True).start()
            return
        if self.closed:
            return
        self.closed = True
        for future in tuple(self._running):
            future.cancel()
        self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        for stream in tuple(self._streams):
            await stream.end()
        await self._held.aclose()
        # Let what grpc itself still does for calls that were cancelled come to its end.
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            _, stubborn = await asyncio.wait(others, timeout=_SETTLE_SECONDS)
            for task in stubborn:
                task.cancel()
            await asyncio.gather(*stubborn, return_exceptions=True)


class Stream(Iterator[T], Generic[T]):
    """An asynchronous generator as an iterator. It has to be closed: that ends the generator."""

    def __init__(self, loop: BackgroundLoop, items: AsyncIterator[T]) -> None:
        self._loop, self._items = loop, items
        self._next: Future[T] | None = None
        self._cancelled = False
        self._turn = asyncio.Lock()  # a generator that is being cancelled cannot be closed yet

    def __next__(self) -> T:
        if self._loop.closed:
            raise StopIteration
        self._next = self._loop.submit(self._advance())
        if self._cancelled:  # perhaps of the one before, which may have come all the same
            self._next.cancel()
            raise StopIteration
        try:
            return self._next.result()
        except (StopAsyncIteration, CancelledError):
            raise StopIteration from None
        except BaseException:
            self._next.cancel()
            raise

    def cancel(self) -> None:
        """End the iteration, from whichever thread; whoever waits for the next item is told that there is none."""
        self._cancelled = True
        if self._next:
            self._next.cancel()

    def close(self) -> None:
        """End the generator, which the end of the loop has done too."""
        if not self._loop.closed:
            self._loop.run(self.end())

    async def _advance(self) -> T:
        async with self._turn:
            return await anext(self._items)

    async def end(self) -> None:
        """End the generator. To be awaited in the loop."""
        async with self._turn:
            await cast(AsyncGenerator[T, None], self._items).aclose()

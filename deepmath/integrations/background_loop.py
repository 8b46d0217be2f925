"""Our clients for callers that know no asyncio: an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from threading import RLock, Thread, current_thread
from typing import Any, Generic, TypeVar, cast
from weakref import WeakSet

from deepmath.errors import WrongOrder

_SETTLE_SECONDS = 1.0

T = TypeVar("T")


class ClosedError(WrongOrder):
    """The loop was closed, before or meanwhile."""

    def __init__(self) -> None:
        super().__init__("the connection was closed by a cleanup: make another object to go on")


class BackgroundLoop:
    """Runs coroutines for other threads, in the context of who asks: spans and request ids go with them."""

    def __init__(self) -> None:
        self.closed = False
        self._loop = asyncio.new_event_loop()
        self._running: set[Future[Any]] = set()
        self._streams: WeakSet[BlockingStream[Any]] = WeakSet()
        self._held = AsyncExitStack()
        # Nothing is submitted to a loop that has ended. The garbage collector may close one loop within the other's.
        self._turn = RLock()
        # A daemon: a program may end without closing this. Its end is also the end of what was started from it.
        self._thread = Thread(target=self._loop.run_forever, name="deepmath", daemon=True)
        self._thread.start()

    async def hold(self, context: AbstractAsyncContextManager[T]) -> T:
        """Enter `context`, which `close` leaves. To be awaited in the loop."""
        return await self._held.enter_async_context(context)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin `coroutine`. Cancelling the future cancels it.

        Raises:
            ClosedError: the loop was closed.
        """
        with self._turn:
            if self.closed:
                coroutine.close()
                raise ClosedError
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what `coroutine` returns, or raise what it raises. Ctrl-C cancels it.

        Raises:
            ClosedError: the loop was closed, before or meanwhile.
        """
        return self.result(self.submit(coroutine))

    def result(self, future: Future[T]) -> T:
        """Return the result of what was submitted, as `run` does."""
        try:
            return future.result()
        except CancelledError:
            if self.closed:
                raise ClosedError from None
            raise
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncIterator[T], owner: object = None) -> BlockingStream[T]:
        """Return an iterator over `items`, an asynchronous generator. `owner` lives as long as that."""
        stream = BlockingStream(self, items, owner)
        self._streams.add(stream)
        return stream

    @property
    def is_here(self) -> bool:
        """Whether the caller is in the loop's own thread, as the garbage collector may be."""
        return current_thread() is self._thread

    def close(self) -> None:
        """Cancel what runs, leave what is held, and end the thread; nothing if that was done. From any thread."""
        if self.is_here:
            Thread(target=self.close, daemon=True).start()
            return
        with self._turn:
            if self.closed or not self._thread.is_alive():  # a forked process has the object, but not the thread
                return
            self.closed = True
            for future in tuple(self._running):
                future.cancel()
            ending = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        try:
            try:
                ending.result()
            except KeyboardInterrupt:  # there may be processes and folders to be seen to; a second one breaks that off
                ending.result()
                raise
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _end(self) -> None:
        try:
            for stream in tuple(self._streams):
                await stream.end()
        finally:
            await self._held.aclose()
        # Let what grpc itself still does for calls that were cancelled come to its end.
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            _, stubborn = await asyncio.wait(others, timeout=_SETTLE_SECONDS)
            for task in stubborn:
                task.cancel()
            await asyncio.gather(*stubborn, return_exceptions=True)


class BlockingStream(Iterator[T], Generic[T]):
    """An asynchronous generator as an iterator. It has to be closed: that ends the generator."""

    def __init__(self, loop: BackgroundLoop, items: AsyncIterator[T], owner: object) -> None:
        self._loop, self._items, self._owner = loop, items, owner
        self._next: Future[T] | None = None
        self._cancelled = False
        self._turn = asyncio.Lock()  # a generator that is being cancelled cannot be closed yet

    def __next__(self) -> T:
        self._next = self._loop.submit(self._advance())
        if self._cancelled:  # perhaps of the one before, which may have come all the same
            self._next.cancel()
            raise StopIteration
        try:
            return self._loop.result(self._next)
        except StopAsyncIteration:
            raise StopIteration from None
        except CancelledError:
            if self._cancelled:
                raise StopIteration from None
            raise

    def cancel(self) -> None:
        """End the iteration, from whichever thread; whoever waits for the next item is told that there is none."""
        self._cancelled = True
        if self._next:
            self._next.cancel()

    def close(self) -> None:
        """End the generator, which the end of the loop does too."""
        with suppress(ClosedError):
            if self._loop.is_here:
                self._loop.submit(self.end())
            else:
                self._loop.run(self.end())

    async def _advance(self) -> T:
        async with self._turn:
            return await anext(self._items)

    async def end(self) -> None:
        """End the generator. To be awaited in the loop."""
        async with self._turn:
            await cast(AsyncGenerator[T, None], self._items).aclose()

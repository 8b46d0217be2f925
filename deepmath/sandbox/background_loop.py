"""An asyncio event loop in a background thread, through which synchronous callers use the asynchronous clients.

The same role as anyio's blocking portal, which does not fit here for three reasons (anyio 4.16). Cancelling a portal's
future cancels each further await of its coroutine too, so that a call's asynchronous cleanup cannot run ("level
cancellation" in anyio's documentation). Its methods block until the loop's thread answers, and are refused within that
thread, where the garbage collector may run a finalizer. And a forked process, which has no such thread, would wait for
it at its exit.
"""

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
    """The loop is closed, or was closed during the call."""

    def __init__(self) -> None:
        super().__init__("the connection was closed by a cleanup; create a new object")


class BackgroundLoop:
    """Runs coroutines for other threads, each in its caller's context: spans and request ids are propagated."""

    def __init__(self) -> None:
        self.closed = False
        self._loop = asyncio.new_event_loop()
        self._running: set[Future[Any]] = set()
        self._streams: WeakSet[BlockingStream[Any]] = WeakSet()
        self._held = AsyncExitStack()
        # Serializes submissions with `close`. Reentrant, since the garbage collector may call `close` within `submit`.
        self._lock = RLock()
        # A daemon thread: a program may exit without `close`. Child processes started by the thread end with it.
        self._thread = Thread(target=self._loop.run_forever, name="deepmath", daemon=True)
        self._thread.start()

    async def hold(self, context: AbstractAsyncContextManager[T]) -> T:
        """Enter `context`, which `close` exits. To be awaited in the loop."""
        return await self._held.enter_async_context(context)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `coroutine`, without waiting for it. Cancelling the future cancels the coroutine.

        Raises:
            ClosedError: The loop is closed.
        """
        with self._lock:
            if self.closed:
                coroutine.close()
                raise ClosedError
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the result of `coroutine`, or raise its exception. Ctrl-C cancels it.

        Raises:
            ClosedError: The loop is closed, or was closed during the call.
        """
        return self.result(self.submit(coroutine))

    def result(self, future: Future[T]) -> T:
        """Wait for the result of a submitted coroutine, as `run` does."""
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
        """Return an iterator over `items`, an asynchronous generator. It keeps `owner` alive."""
        stream = BlockingStream(self, items, owner)
        self._streams.add(stream)
        return stream

    @property
    def is_current_thread(self) -> bool:
        """Whether the caller is in the loop's own thread, as a finalizer may be."""
        return current_thread() is self._thread

    def close(self) -> None:
        """Cancel running coroutines, exit held contexts, and end the thread. Idempotent; from any thread."""
        if self.is_current_thread:
            Thread(target=self.close, daemon=True).start()
            return
        with self._lock:
            if self.closed or not self._thread.is_alive():  # a forked process has this object, but not the thread
                return
            self.closed = True
            for future in tuple(self._running):
                future.cancel()
            closing = asyncio.run_coroutine_threadsafe(self._exit_contexts(), self._loop)
        try:
            try:
                closing.result()
            except KeyboardInterrupt:  # finish stopping processes and removing folders, unless interrupted again
                closing.result()
                raise
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _exit_contexts(self) -> None:
        try:
            for stream in tuple(self._streams):
                await stream.aclose()
        finally:
            await self._held.aclose()
        # grpc.aio finishes cancelled calls in tasks of its own.
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            _, unfinished = await asyncio.wait(others, timeout=_SETTLE_SECONDS)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)


class BlockingStream(Iterator[T], Generic[T]):
    """An asynchronous generator as a synchronous iterator. The caller must close it, which closes the generator."""

    def __init__(self, loop: BackgroundLoop, items: AsyncIterator[T], owner: object) -> None:
        self._loop, self._items, self._owner = loop, items, owner
        self._next: Future[T] | None = None
        self._cancelled = False
        self._lock = asyncio.Lock()  # a generator cannot be closed while it is being cancelled

    def __next__(self) -> T:
        self._next = self._loop.submit(self._advance())
        if self._cancelled:  # possibly after the previous item had arrived
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
        """Stop the iteration, from any thread. A waiting `next` raises StopIteration."""
        self._cancelled = True
        if self._next:
            self._next.cancel()

    def close(self) -> None:
        """Close the generator. Closing the loop does this too."""
        with suppress(ClosedError):
            if self._loop.is_current_thread:
                self._loop.submit(self.aclose())
            else:
                self._loop.run(self.aclose())

    async def _advance(self) -> T:
        async with self._lock:
            return await anext(self._items)

    async def aclose(self) -> None:
        """Close the generator. To be awaited in the loop."""
        async with self._lock:
            await cast(AsyncGenerator[T, None], self._items).aclose()

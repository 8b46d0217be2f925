"""Coroutines and asynchronous generators run for callers in other threads."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar

import pytest

from deepmath.sandbox.background_loop import BackgroundLoop, ClosedError

CALLER = ContextVar("caller", default="nobody")


@pytest.fixture
def loop() -> Iterator[BackgroundLoop]:
    loop = BackgroundLoop()
    yield loop
    loop.close()


def loops_running() -> set[threading.Thread]:
    """Return the threads of event loops, those of other tests included."""
    return {thread for thread in threading.enumerate() if thread.name == "deepmath"}


async def count(closed: list[bool], stuck_at: int = -1) -> AsyncIterator[int]:
    """Count to 4, or hang before `stuck_at`. The cleanup awaits."""
    try:
        for number in range(5):
            if number == stuck_at:
                await asyncio.Event().wait()
            yield number
    finally:
        await asyncio.sleep(0.1)
        closed.append(True)


def test_coroutine_runs_in_the_loops_thread_with_the_callers_context(loop) -> None:
    async def observe() -> tuple[str, str]:
        return CALLER.get(), threading.current_thread().name

    CALLER.set("this test")
    assert loop.run(observe()) == ("this test", "deepmath")


def test_exception_of_a_coroutine_is_raised_in_the_caller(loop) -> None:
    async def fails() -> None:
        raise LookupError("where?")

    with pytest.raises(LookupError, match="where"):
        loop.run(fails())


def test_generator_is_iterated_and_closed(loop) -> None:
    closed: list[bool] = []
    stream = loop.iterate(count(closed))
    assert [next(stream), next(stream)] == [0, 1]
    stream.close()
    assert closed == [True]


def test_cancel_stops_a_waiting_iteration(loop) -> None:
    closed: list[bool] = []
    stream = loop.iterate(count(closed, stuck_at=2))
    threading.Timer(0.2, stream.cancel).start()
    assert list(stream) == [0, 1]
    stream.close()
    assert closed == [True]


def test_cancelled_stream_yields_no_more_items(loop) -> None:
    stream = loop.iterate(count([]))
    next(stream)
    stream.cancel()
    assert list(stream) == []
    stream.close()


def test_close_cancels_running_coroutines_and_ends_the_thread() -> None:
    others = loops_running()
    loop = BackgroundLoop()
    stuck = loop.submit(asyncio.sleep(60))
    loop.close()
    assert stuck.cancelled()
    assert loops_running() <= others


def test_close_closes_streams_and_then_exits_held_contexts() -> None:
    loop = BackgroundLoop()
    closed: list[bool] = []

    @asynccontextmanager
    async def held() -> AsyncIterator[str]:
        yield "it"
        closed.append(False)

    assert loop.run(loop.hold(held())) == "it"
    stream = loop.iterate(count(closed))
    next(stream)
    loop.close()
    assert closed == [True, False]
    stream.close()
    loop.close()
    assert closed == [True, False]


def test_loop_can_be_closed_from_its_own_thread() -> None:
    others = loops_running()
    loop = BackgroundLoop()

    async def close() -> None:
        loop.close()

    with suppress(ClosedError):
        loop.run(close())
    for thread in loops_running() - others:
        thread.join(10)
    assert loop.closed
    assert loops_running() <= others


def test_stream_can_be_closed_from_the_loops_own_thread(loop) -> None:
    closed: list[bool] = []
    stream = loop.iterate(count(closed))
    next(stream)

    async def close() -> None:
        stream.close()

    loop.run(close())
    loop.run(asyncio.sleep(1))
    assert closed == [True]


def test_closed_loop_rejects_coroutines_and_iteration() -> None:
    loop = BackgroundLoop()
    stream = loop.iterate(count([]))
    loop.close()
    with pytest.raises(ClosedError, match="closed by a cleanup"):
        loop.run(asyncio.sleep(0))
    with pytest.raises(ClosedError):
        next(stream)


def test_closing_the_loop_during_iteration_raises_closed_error() -> None:
    loop = BackgroundLoop()
    stream = loop.iterate(count([], stuck_at=1))
    next(stream)
    threading.Timer(0.2, loop.close).start()
    with pytest.raises(ClosedError):
        next(stream)


def test_interrupted_close_still_exits_held_contexts() -> None:
    others = loops_running()
    loop, closed = BackgroundLoop(), []

    @asynccontextmanager
    async def held() -> AsyncIterator[None]:
        yield
        await asyncio.sleep(1)
        closed.append(True)

    loop.run(loop.hold(held()))
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        loop.close()
    assert closed == [True]
    assert loops_running() <= others


def test_loop_in_a_forked_process_is_closed_without_its_thread(loop) -> None:
    if (child := os.fork()) == 0:
        loop.close()
        os._exit(7)
    until = time.monotonic() + 30
    while (closed := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < until:
        time.sleep(0.05)
    if closed == (0, 0):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(closed[1]) == 7

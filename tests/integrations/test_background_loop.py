"""Coroutines and asynchronous generators for callers in other threads."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar

import pytest

from deepmath.integrations.background_loop import BackgroundLoop, ClosedError

ABOUT = ContextVar("about", default="nothing")


@pytest.fixture
def loop() -> Iterator[BackgroundLoop]:
    loop = BackgroundLoop()
    yield loop
    loop.close()


async def count(ended: list[bool], stuck_at: int = -1) -> AsyncIterator[int]:
    """Count to 4, or stop before `stuck_at`; its end takes a while."""
    try:
        for number in range(5):
            if number == stuck_at:
                await asyncio.Event().wait()
            yield number
    finally:
        await asyncio.sleep(0.1)
        ended.append(True)


def test_coroutine_runs_in_another_thread_and_in_the_callers_context(loop) -> None:
    async def told() -> tuple[str, str]:
        return ABOUT.get(), threading.current_thread().name

    ABOUT.set("this test")
    assert loop.run(told()) == ("this test", "deepmath")


def test_error_of_a_coroutine_is_the_callers(loop) -> None:
    async def fails() -> None:
        raise LookupError("where?")

    with pytest.raises(LookupError, match="where"):
        loop.run(fails())


def test_generator_is_iterated_and_closed(loop) -> None:
    ended: list[bool] = []
    stream = loop.iterate(count(ended))
    assert [next(stream), next(stream)] == [0, 1]
    stream.close()
    assert ended == [True]


def test_cancelling_ends_an_iteration_that_waits(loop) -> None:
    ended: list[bool] = []
    stream = loop.iterate(count(ended, stuck_at=2))
    threading.Timer(0.2, stream.cancel).start()
    assert list(stream) == [0, 1]
    stream.close()
    assert ended == [True]


def test_nothing_comes_after_cancelling(loop) -> None:
    stream = loop.iterate(count([]))
    next(stream)
    stream.cancel()
    assert list(stream) == []
    stream.close()


def test_closing_cancels_what_runs_and_ends_the_thread() -> None:
    loop = BackgroundLoop()
    stuck = loop.submit(asyncio.sleep(60))
    loop.close()
    assert stuck.cancelled()
    assert "deepmath" not in {thread.name for thread in threading.enumerate()}


def test_closing_ends_streams_and_then_leaves_what_is_held() -> None:
    loop = BackgroundLoop()
    ended: list[bool] = []

    @asynccontextmanager
    async def held() -> AsyncIterator[str]:
        yield "it"
        ended.append(False)

    assert loop.run(loop.hold(held())) == "it"
    stream = loop.iterate(count(ended))
    next(stream)
    loop.close()
    assert ended == [True, False]
    stream.close()
    loop.close()
    assert ended == [True, False]


def test_loop_can_be_closed_from_its_own_thread() -> None:
    loop = BackgroundLoop()

    async def close() -> None:
        loop.close()

    with suppress(ClosedError):
        loop.run(close())
    for thread in threading.enumerate():
        if thread.name == "deepmath":
            thread.join(10)
    assert loop.closed
    assert "deepmath" not in {thread.name for thread in threading.enumerate()}


def test_stream_can_be_closed_from_the_loops_own_thread(loop) -> None:
    ended: list[bool] = []
    stream = loop.iterate(count(ended))
    next(stream)

    async def close() -> None:
        stream.close()

    loop.run(close())
    loop.run(asyncio.sleep(1))
    assert ended == [True]


def test_closed_loop_takes_nothing_and_says_so() -> None:
    loop = BackgroundLoop()
    stream = loop.iterate(count([]))
    loop.close()
    with pytest.raises(ClosedError, match="closed by a cleanup"):
        loop.run(asyncio.sleep(0))
    with pytest.raises(ClosedError):
        next(stream)


def test_stream_that_the_loops_end_cuts_off_says_so() -> None:
    loop = BackgroundLoop()
    stream = loop.iterate(count([], stuck_at=1))
    next(stream)
    threading.Timer(0.2, loop.close).start()
    with pytest.raises(ClosedError):
        next(stream)


def test_interrupted_close_sees_to_what_is_held_all_the_same() -> None:
    loop, ended = BackgroundLoop(), []

    @asynccontextmanager
    async def held() -> AsyncIterator[None]:
        yield
        await asyncio.sleep(1)
        ended.append(True)

    loop.run(loop.hold(held()))
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        loop.close()
    assert ended == [True]
    assert "deepmath" not in {thread.name for thread in threading.enumerate()}


def test_loop_of_a_forked_process_is_closed_without_its_thread(loop) -> None:
    if (child := os.fork()) == 0:
        loop.close()
        os._exit(7)
    until = time.monotonic() + 30
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < until:
        time.sleep(0.05)
    if ended == (0, 0):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended[1]) == 7

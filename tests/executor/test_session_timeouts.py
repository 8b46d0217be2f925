"""Idle timeout and maximum age of sessions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc
import pytest
from support.executor_process import Executor, Session, descendants, running

from deepmath.executor.v1 import executor_pb2 as pb


@pytest.fixture(scope="module")
async def short_idle_timeout(tmp_path_factory) -> AsyncIterator[Executor]:
    """An executor with an idle timeout of one second."""
    async with running(tmp_path_factory.mktemp("idle"), "--waiting-sandboxes=0", "--idle-seconds=1") as executor:
        yield executor


@pytest.fixture(scope="module")
async def short_lifetime(tmp_path_factory) -> AsyncIterator[Executor]:
    """An executor with a session lifetime of one second."""
    async with running(tmp_path_factory.mktemp("old"), "--waiting-sandboxes=0", "--lifetime-seconds=1") as executor:
        yield executor


async def read_until_closed(session: Session) -> tuple[int, str]:
    """Return the number of results read, and the reason the service then gave for closing the session."""
    results = 0

    async def read_all() -> None:
        nonlocal results
        while True:
            await session.read()
            results += 1

    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await asyncio.wait_for(read_all(), 10)
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    return results, failure.value.details() or ""


async def test_idle_session_is_closed_and_its_sandbox_killed(short_idle_timeout):
    before = len(descendants(short_idle_timeout.process.pid))
    async with short_idle_timeout.session() as session:
        await session.run("1")
        assert len(descendants(short_idle_timeout.process.pid)) == before + 1
        _, reason = await read_until_closed(session)
        assert reason == "the session was idle for 1 s and was closed; open a new session and replay its snippets there"
    await short_idle_timeout.until(lambda load: load.live_sessions == 0)
    await asyncio.sleep(0.2)
    assert len(descendants(short_idle_timeout.process.pid)) == before


async def test_session_in_use_is_not_idle(short_idle_timeout):
    async with short_idle_timeout.session() as session:
        for _ in range(8):
            await asyncio.sleep(0.2)
            assert (await session.run("1")).value == "1"


async def test_snippet_longer_than_the_idle_timeout_finishes(short_idle_timeout):
    async with short_idle_timeout.session() as session:
        assert (await session.run("while True: pass", wall_ms=1300)).outcome == pb.OUTCOME_WALL_TIMEOUT


async def test_client_that_reads_no_results_loses_its_session(short_idle_timeout):
    async with short_idle_timeout.session() as session:
        with suppress(asyncio.InvalidStateError):  # the stream may end before everything is sent
            for sequence in range(1, 65):
                await session.send("print('x' * 250_000)", sequence, output_bytes=1 << 18)
        await short_idle_timeout.until(lambda load: load.live_sessions == 0)
        results, _ = await read_until_closed(session)
        assert results < 64


async def test_old_session_is_closed_after_its_running_snippet(short_lifetime):
    async with short_lifetime.session() as session:
        assert (await session.run("while True: pass", wall_ms=1300)).outcome == pb.OUTCOME_WALL_TIMEOUT
        assert await read_until_closed(session) == (
            0,
            "the session was 1 s old and was closed; open a new session and replay its snippets there",
        )


async def test_old_session_is_closed_although_it_is_never_idle(short_lifetime):
    async with short_lifetime.session() as session:
        with suppress(asyncio.InvalidStateError):
            for sequence in range(1, 31):  # sent ahead, so that the session is never idle
                await session.send("while True: pass", sequence, wall_ms=300)
        results, reason = await read_until_closed(session)
        assert 1 <= results < 30
        assert "was 1 s old" in reason

"""How long a session is kept whose client has gone quiet, and one that is old."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc
import pytest
from support.executor_process import Executor, Session, descendants, running

from deepmath.executor.v1 import executor_pb2 as pb


@pytest.fixture(scope="module")
async def impatient(tmp_path_factory) -> AsyncIterator[Executor]:
    """An executor that ends idle sessions after two seconds."""
    async with running(tmp_path_factory.mktemp("idle"), "--waiting-sandboxes=0", "--idle-seconds=2") as executor:
        yield executor


@pytest.fixture(scope="module")
async def short_lived(tmp_path_factory) -> AsyncIterator[Executor]:
    """An executor that ends sessions at the age of two seconds."""
    async with running(tmp_path_factory.mktemp("old"), "--waiting-sandboxes=0", "--lifetime-seconds=2") as executor:
        yield executor


async def read_to_the_end(session: Session) -> tuple[int, str]:
    """Return how many results came, and why the service then ended the session."""
    results = 0

    async def read_all() -> None:
        nonlocal results
        while True:
            await session.read()
            results += 1

    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await asyncio.wait_for(read_all(), 10)
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    return results, failure.value.details()


async def test_idle_session_is_ended_and_its_sandbox_is_gone(impatient):
    before = len(descendants(impatient.process.pid))
    async with impatient.session() as session:
        await session.run("1")
        assert len(descendants(impatient.process.pid)) == before + 1
        _, reason = await read_to_the_end(session)
        assert reason == "the session was idle for 2 s and was ended; open another and run its snippets again there"
    await impatient.until(lambda load: load.live_sessions == 0)
    await asyncio.sleep(0.2)
    assert len(descendants(impatient.process.pid)) == before


async def test_session_that_is_used_is_not_idle(impatient):
    async with impatient.session() as session:
        for _ in range(8):
            await asyncio.sleep(0.3)
            assert (await session.run("1")).value == "1"


async def test_snippet_longer_than_the_idle_time_is_not_cut_short(impatient):
    async with impatient.session() as session:
        assert (await session.run("while True: pass", wall_ms=2500)).outcome == pb.OUTCOME_WALL_TIMEOUT


async def test_client_that_takes_no_results_loses_its_session(impatient):
    async with impatient.session() as session:
        with suppress(asyncio.InvalidStateError):  # the stream may be over before all is sent
            for sequence in range(1, 65):
                await session.send("print('x' * 250_000)", sequence, output_bytes=1 << 18)
        await impatient.until(lambda load: load.live_sessions == 0)
        results, _ = await read_to_the_end(session)
        assert results < 64


async def test_old_session_is_ended_after_what_it_runs(short_lived):
    async with short_lived.session() as session:
        assert (await session.run("while True: pass", wall_ms=2500)).outcome == pb.OUTCOME_WALL_TIMEOUT
        assert await read_to_the_end(session) == (
            0,
            "the session was 2 s old and was ended; open another and run its snippets again there",
        )


async def test_old_session_is_ended_though_it_is_never_idle(short_lived):
    async with short_lived.session() as session:
        with suppress(asyncio.InvalidStateError):
            for sequence in range(1, 31):  # sent ahead: there is always a next one
                await session.send("while True: pass", sequence, wall_ms=300)
        results, reason = await read_to_the_end(session)
        assert 1 <= results < 30
        assert "was 2 s old" in reason

"""Admission of sessions, queueing of snippets, and the refusals with their retry delays."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest
from support.executor_process import Executor, Session, running

from deepmath.executor.v1 import executor_pb2 as pb

SPIN = "while True: pass"


@asynccontextmanager
async def single_slot(folder: Path, *options: str) -> AsyncIterator[Executor]:
    """Run an executor with one slot for running snippets."""
    async with running(folder, "--waiting-sandboxes=2", "--max-running-snippets=1", *options) as executor:
        yield executor


async def refusal(call: Awaitable[object]) -> tuple[str, int]:
    """Return the message of a refused call and its retry delay in milliseconds."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return failure.value.details() or "", int(dict(failure.value.trailing_metadata())["grpc-retry-pushback-ms"])


def more_snippets_than(number: int) -> Callable[[pb.Load], bool]:
    return lambda load: load.running_snippets + load.queued_snippets > number


async def fill_slot_and_queue(executor: Executor, sessions: AsyncExitStack) -> list[Session]:
    both = [await sessions.enter_async_context(executor.session()) for _ in range(2)]
    for session in both:
        await session.send(SPIN, sequence=1, wall_ms=600)
    await executor.until(lambda load: (load.running_snippets, load.queued_snippets) == (1, 1))
    return both


@pytest.fixture(scope="module")
async def short_queue(tmp_path_factory) -> AsyncIterator[Executor]:
    async with single_slot(tmp_path_factory.mktemp("queue"), "--max-queued-snippets=1") as executor:
        yield executor


async def test_full_queue_refuses_sessions_and_executions_with_a_retry_delay(short_queue):
    async with AsyncExitStack() as sessions:
        await fill_slot_and_queue(short_queue, sessions)
        for call in (short_queue.execute("1"), Session(short_queue.stub).open()):
            details, retry_ms = await refusal(call)
            assert "snippets are queued" in details
            assert 100 <= retry_ms <= 12_000


async def test_full_queue_leaves_open_sessions_unaffected(short_queue):
    async with short_queue.session() as session, AsyncExitStack() as sessions:
        await session.run("x = 6 * 7")
        await fill_slot_and_queue(short_queue, sessions)
        result = await session.run("x")
        assert (result.outcome, result.value) == (pb.OUTCOME_OK, "42")
        assert result.usage.queue_ms > 300
        assert result.usage.wall_ms < 300


async def test_session_is_admitted_once_the_queue_is_shorter(short_queue):
    async with AsyncExitStack() as sessions:
        first, _ = await fill_slot_and_queue(short_queue, sessions)
        await refusal(short_queue.execute("1"))
        await first.read()
        assert (await short_queue.execute("1")).value == "1"


async def test_client_that_disconnects_while_queued_frees_its_place(short_queue):
    async with AsyncExitStack() as sessions:
        first, second = await fill_slot_and_queue(short_queue, sessions)
        second.stream.cancel()
        await short_queue.until(lambda load: load.queued_snippets == 0)
        assert (await short_queue.execute("1")).value == "1"
        assert (await first.read()).result.outcome == pb.OUTCOME_WALL_TIMEOUT


async def test_info_reports_queue_limit_and_backend(short_queue):
    info = await short_queue.stub.GetInfo(pb.GetInfoRequest())
    assert info.load.maximum_queued_snippets == 1
    assert info.backend == "native"


async def test_client_with_many_queued_snippets_delays_another_by_one_turn(tmp_path):
    async with single_slot(tmp_path) as executor:
        calls = [asyncio.create_task(executor.execute(SPIN, client="greedy", wall_ms=100)) for _ in range(30)]
        await executor.until(lambda load: load.queued_snippets >= 25)
        before = sum(call.done() for call in calls)
        assert (await executor.execute("1 + 1", client="modest")).value == "2"
        assert (
            sum(call.done() for call in calls) - before <= 3
        )  # the running one, one turn, and one while the result travels back
        for call in calls:
            call.cancel()


async def test_snippets_of_one_client_run_in_arrival_order(tmp_path):
    async with single_slot(tmp_path) as executor, AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(executor.session()) for _ in range(5)]
        random.Random(7).shuffle(sessions)
        for position, session in enumerate(sessions):
            await session.send(SPIN, sequence=1, wall_ms=100)
            await executor.until(more_snippets_than(position))
        queued = [(await session.read()).result.usage.queue_ms for session in sessions]
        assert queued == sorted(queued)


async def test_client_at_its_running_limit_leaves_the_other_slots_to_others(tmp_path):
    options = ("--waiting-sandboxes=3", "--max-running-snippets=2", "--max-running-per-client=1")
    async with running(tmp_path, *options) as executor:
        calls = [asyncio.create_task(executor.execute(SPIN, client="greedy", wall_ms=1000)) for _ in range(2)]
        await executor.until(lambda load: (load.running_snippets, load.queued_snippets) == (1, 1))
        assert (await executor.execute("1 + 1", client="modest")).usage.queue_ms < 900
        assert not calls[0].done()
        first, second = await asyncio.gather(*calls)
        assert max(first.usage.queue_ms, second.usage.queue_ms) >= 900


async def test_client_over_its_session_limit_is_refused_and_others_are_not(tmp_path):
    async with single_slot(tmp_path, "--max-sessions-per-client=1") as executor:
        async with executor.session(client="greedy"):
            details, _ = await refusal(executor.execute("1", client="greedy"))
            assert "greedy at unix has 1 open sessions" in details
            assert (await executor.execute("1", client="modest")).value == "1"
        await executor.until(lambda load: load.live_sessions == 0)
        assert (await executor.execute("1", client="greedy")).value == "1"


@pytest.fixture(scope="module")
async def rate_limited(tmp_path_factory) -> AsyncIterator[Executor]:
    options = ("--snippets-per-second-per-client=2", "--burst=2")
    async with single_slot(tmp_path_factory.mktemp("rate_limited"), *options) as executor:
        yield executor


async def test_execution_over_the_rate_is_refused_with_the_time_to_wait(rate_limited):
    for _ in range(2):
        await rate_limited.execute("1", client="often")
    details, retry_ms = await refusal(rate_limited.execute("1", client="often"))
    assert "often at unix is over its rate limit" in details
    assert 0 < retry_ms <= 500
    await asyncio.sleep(retry_ms / 1e3)
    assert (await rate_limited.execute("1", client="often")).value == "1"


async def test_snippet_over_the_rate_in_an_open_session_waits_outside_its_wall_time(rate_limited):
    async with rate_limited.session(client="patient") as session:
        results = [await session.run("1", wall_ms=200) for _ in range(4)]
    assert [result.outcome for result in results] == [pb.OUTCOME_OK] * 4
    assert results[3].usage.queue_ms > 300
    assert results[3].usage.wall_ms < 200


async def test_session_over_the_rate_is_refused_on_open(rate_limited):
    for _ in range(2):
        await rate_limited.execute("1", client="opener")
    _, retry_ms = await refusal(Session(rate_limited.stub, client="opener").open())
    assert 0 < retry_ms <= 500


async def test_streams_without_an_open_session_are_limited(tmp_path):
    async with running(tmp_path, "--waiting-sandboxes=1", "--max-sessions=3") as executor:
        streams = [executor.stub.Session() for _ in range(4)]
        done, _ = await asyncio.wait(
            [asyncio.create_task(stream.code()) for stream in streams], return_when=asyncio.FIRST_COMPLETED, timeout=5
        )
        assert [task.result() for task in done] == [grpc.StatusCode.RESOURCE_EXHAUSTED]
        for stream in streams:
            stream.cancel()


async def test_long_client_name_is_an_invalid_argument(short_queue):
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await short_queue.execute("1", client="x" * 129)
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "deepmath-client" in (failure.value.details() or "")

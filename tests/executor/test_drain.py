"""Graceful shutdown: running and queued snippets finish, up to a deadline."""

import asyncio
import signal
import time

import grpc
import pytest
from support.executor_process import Executor, Session, running

from deepmath.clients import ExecutorClient
from deepmath.errors import Unavailable

SLEEP = "import random\nrandom._os.sys.modules['time'].sleep({})\n'done'"


async def exits_cleanly(executor: Executor) -> None:
    async with asyncio.timeout(10):
        assert await executor.process.wait() == 0


async def start_sleeping(executor: Executor, session: Session, seconds: float) -> None:
    await session.send(SLEEP.format(seconds), sequence=1)
    await executor.until(lambda load: load.running_snippets == 1)


async def execute_repeatedly(client: ExecutorClient) -> None:
    while True:
        await client.execute("1")


async def test_sigterm_lets_a_queued_snippet_of_an_open_session_finish(tmp_path):
    async with running(tmp_path, "--waiting-sandboxes=1", "--max-running-snippets=1") as executor:
        async with executor.session() as first, executor.session() as second:
            await start_sleeping(executor, first, 0.5)
            await second.send("'also done'", sequence=1)
            await executor.until(lambda load: load.queued_snippets == 1)
            executor.process.send_signal(signal.SIGTERM)
            assert (await first.read()).result.value == "'done'"
            assert (await second.read()).result.value == "'also done'"
        await exits_cleanly(executor)


async def test_no_session_opens_after_sigterm(tmp_path):
    async with (
        running(tmp_path, "--waiting-sandboxes=1") as executor,
        ExecutorClient(f"unix:{tmp_path}/socket", patience_s=0.1) as late,
    ):
        async with executor.session() as session:
            await start_sleeping(executor, session, 1)
            executor.process.send_signal(signal.SIGTERM)
            with pytest.raises(Unavailable):
                await execute_repeatedly(late)
            assert (await session.read()).result.value == "'done'"
        await exits_cleanly(executor)


async def test_snippet_running_at_the_drain_deadline_is_killed(tmp_path):
    async with running(tmp_path, "--waiting-sandboxes=1", "--drain-seconds=0.3") as executor:
        async with executor.session() as session:
            await start_sleeping(executor, session, 15)
            start = time.monotonic()
            executor.process.send_signal(signal.SIGTERM)
            with pytest.raises(grpc.aio.AioRpcError):
                await session.read()
            await exits_cleanly(executor)
        assert 0.3 <= time.monotonic() - start < 5
    (line,) = executor.audit()
    assert line["outcome"] == "UNSPECIFIED"


async def test_second_sigterm_stops_the_service_at_once(tmp_path):
    async with (
        running(tmp_path, "--waiting-sandboxes=1") as executor,
        executor.session() as busy_session,
        executor.session() as idle,
    ):
        await start_sleeping(executor, busy_session, 15)
        executor.process.send_signal(signal.SIGTERM)
        assert await idle.stream.code() is grpc.StatusCode.UNAVAILABLE  # it has handled the first
        executor.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            assert await executor.process.wait() == 0
    assert "Traceback" not in executor.log.read_text()

"""Failover of sessions whose executor dies, ends them or fails: the same results, with notes."""

import asyncio
import hashlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest
from support.executor_process import Executor, descendants, kill, running

from deepmath.clients import ExecutorSession
from deepmath.errors import Unavailable
from deepmath.executor.v1 import executor_pb2 as pb

from .conftest import client_of

SPIN = "while True: pass"
SLEEP = "import random\nclock = random._os.sys.modules['time'].monotonic\nend = clock() + 0.6\n"


@asynccontextmanager
async def moved(
    folder: Path, *snippets: str | tuple[str, pb.Limits], then: tuple[str, ...] = (), stdin: str = ""
) -> AsyncIterator[tuple[ExecutorSession, list[str], list[pb.SnippetResult], Executor]]:
    """Run `snippets`, kill the executor, start one with the options `then`; yield session, notes, results, executor."""
    notes: list[str] = []
    async with running(folder, "--waiting-sandboxes=1") as first:
        client = client_of(first, patience_s=20)
        session = client.session(seed=7, on_note=notes.append)
        results = [await session.run(*((step,) if isinstance(step, str) else step), stdin=stdin) for step in snippets]
        first.process.kill()
    async with running(folder, "--waiting-sandboxes=1", *then) as second, client, session:
        yield session, notes, results, second


def sha256(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


async def test_session_is_replayed_in_order_with_its_seed_and_limits(tmp_path):
    steps = ("import random", ("x = random.random()", pb.Limits(wall_ms=900)), "x, random.random()")
    async with moved(tmp_path, *steps[:2]) as (session, notes, _, second):
        value = (await session.run(steps[2])).value
        lines = await second.audit_of(count=3)
        undisturbed = client_of(second).session(seed=7)
        for step in steps[:2]:
            await undisturbed.run(*((step,) if isinstance(step, str) else step))
        assert (await undisturbed.run(steps[2])).value == value
    codes = [step if isinstance(step, str) else step[0] for step in steps]
    assert [line["code_sha256"] for line in lines] == [sha256(code) for code in codes]
    assert [line["limits"]["wall_ms"] for line in lines] == [20_000, 900, 20_000]
    assert len(notes) == 1
    assert "executor lost" in notes[0]
    assert "replaying 2 snippets" in notes[0]


async def test_replayed_snippet_reads_its_standard_input_again(tmp_path):
    async with moved(tmp_path, "x = input()", stdin="a\nb") as (session, _, _, _):
        assert (await session.run("x, input()", stdin="c")).value == "('a', 'c')"


async def test_snippets_whose_variables_were_lost_are_not_replayed(tmp_path):
    async with moved(tmp_path, "x = 1", "import random\nrandom._os._exit(1)", "y = 2") as (session, _, results, second):
        assert [result.state_lost for result in results] == [False, True, False]
        assert (await session.run("y")).value == "2"
        assert [line["code_sha256"] for line in await second.audit_of(count=2)] == [sha256("y = 2"), sha256("y")]


async def test_replayed_snippet_with_another_outcome_is_noted(tmp_path):
    big = "x = 1\ny = bytearray(200 << 20)"
    async with moved(tmp_path, big, then=("--memory-bytes=50000000",)) as (session, notes, results, _):
        assert results[0].outcome == pb.OUTCOME_OK
        assert (await session.run("x")).value == "1"
        assert notes[-1] == "snippet 1 ended with OUT_OF_MEMORY when it was replayed, and with OK before"


@pytest.mark.slow
async def test_replay_that_loses_the_variables_is_an_infrastructure_failure(tmp_path):
    stubborn = SLEEP + "while clock() < end:\n  try:\n    while clock() < end: pass\n  except TimeoutError: pass"
    async with moved(tmp_path, stubborn, then=("--wall-ms=100", "--grace-ms=1")) as (session, _, results, _):
        assert results[0].outcome == pb.OUTCOME_OK
        with pytest.raises(Unavailable, match="snippet 1 ended with WALL_TIMEOUT when it was replayed"):
            await session.run("end", deadline_s=4)


async def test_replay_that_another_executor_rejects_is_an_infrastructure_failure(tmp_path):
    long = ("x = 1", pb.Limits(wall_ms=100_000))
    async with moved(tmp_path, long, then=("--maximum-wall-ms=30000",)) as (session, _, _, _):
        with pytest.raises(Unavailable, match="snippet 1 was rejected when it was replayed"):
            await session.run("x", deadline_s=4)


async def test_executor_that_dies_during_a_snippet_is_replaced(tmp_path):
    async with moved(tmp_path, "x = 41") as (session, notes, _, second):
        running_one = asyncio.create_task(session.run("y = sum(range(10**7))\nx + 1"))
        await second.until(lambda load: load.running_snippets == 1)
        second.process.kill()
        await second.process.wait()
        async with running(tmp_path, "--waiting-sandboxes=1"):
            assert (await running_one).value == "42"
        assert sum("executor lost" in note for note in notes) == 2


async def test_session_that_exceeded_its_idle_time_is_replayed(tmp_path):
    notes: list[str] = []
    async with (
        running(tmp_path, "--waiting-sandboxes=1", "--idle-seconds=0.3") as executor,
        client_of(executor) as client,
        client.session(on_note=notes.append) as session,
    ):
        await session.run("x = 1")
        await executor.until(lambda load: load.live_sessions == 0)
        assert (await session.run("x")).value == "1"
    assert "was idle for 0.3 s" in notes[0]


async def test_session_of_a_draining_executor_continues_elsewhere(tmp_path):
    async with running(tmp_path, "--waiting-sandboxes=1") as first, client_of(first) as client:
        session = client.session()
        await session.run("x = 1")
        first.process.send_signal(signal.SIGTERM)
        assert await first.process.wait() == 0
        async with running(tmp_path, "--waiting-sandboxes=1"):
            assert (await session.run("x")).value == "1"


def cpu_seconds(executor: Executor) -> dict[int, float]:
    used = {}
    for pid in descendants(executor.process.pid):
        with suppress(psutil.NoSuchProcess):
            used[pid] = sum(psutil.Process(pid).cpu_times()[:2])
    return used


async def kill_busy_sandbox(executor: Executor) -> None:
    """Kill the sandbox that runs a snippet, as the kernel's OOM killer would."""
    before = cpu_seconds(executor)
    await asyncio.sleep(0.3)
    used = {pid: seconds - before[pid] for pid, seconds in cpu_seconds(executor).items() if pid in before}
    busiest = max(used, key=lambda pid: used[pid], default=0)
    if used.get(busiest, 0) > 0.02:  # seconds: more than waiting sandboxes, and little enough for a busy machine
        kill(busiest)


async def test_snippet_of_a_failed_sandbox_is_run_again(plain, client):
    notes: list[str] = []
    async with client.session(on_note=notes.append) as session:
        await session.run("x = 1")
        running_one = asyncio.create_task(session.run("for _ in range(3 * 10**7): pass\nx"))
        await plain.until(lambda load: load.running_snippets == 1)
        while not notes and not running_one.done():  # a busy machine may give the sandbox little CPU time
            await kill_busy_sandbox(plain)
        result = await running_one
        assert (result.outcome, result.value) == (pb.OUTCOME_OK, "1")
    assert "the sandbox failed" in notes[0]


async def test_snippet_whose_sandboxes_all_fail_is_given_up(plain, client):
    async def run(session: ExecutorSession) -> None:
        with pytest.raises(Unavailable, match="no executor ran the snippet in 3 attempts: the sandbox failed"):
            await session.run(SPIN)

    async with client.session() as session:
        await session.run("x = 1")
        given_up = asyncio.create_task(run(session))
        while not given_up.done():
            await kill_busy_sandbox(plain)
        await given_up
        assert (await session.run("x")).value == "1"

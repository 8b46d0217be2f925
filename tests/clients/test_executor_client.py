"""Guarantees of the executor client without failures of the executor."""

import asyncio
import time

import pytest
from support.executor_process import running

from deepmath.clients import ExecutorClient
from deepmath.errors import InvalidRequest, Unavailable
from deepmath.executor.v1 import executor_pb2 as pb

from .conftest import client_of

SPIN = "while True: pass"


async def test_run_over_its_deadline_ends_and_restores_the_session(client):
    async with client.session() as session:
        await session.run("x = 1")
        with pytest.raises(Unavailable, match=r"within its deadline of 0\.5 s"):
            await session.run(f"x = 2\n{SPIN}", deadline_s=0.5)
        assert (await session.run("x")).value == "1"


async def test_sandbox_of_a_run_over_its_deadline_is_killed(plain, client):
    with pytest.raises(Unavailable):
        await client.execute(SPIN, deadline_s=0.3)
    await plain.until(lambda load: load.live_sessions == 0 and load.running_snippets == 0)


async def test_session_continues_after_a_cancelled_run(client):
    async with client.session() as session:
        await session.run("x = 1")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.run(f"x = 2\n{SPIN}"), 0.3)
        assert (await session.run("x")).value == "1"


async def test_standard_input_is_checked_and_read(client):
    with pytest.raises(InvalidRequest, match=r"stdin has a lone surrogate, U\+D800, at character 2"):
        await client.execute("1", stdin="12\ud800")
    with pytest.raises(InvalidRequest, match="stdin is over 524288 bytes"):
        await client.execute("1", stdin="1" * (512 << 10) + "1")
    assert (await client.execute("input()", stdin="a")).value == "'a'"


@pytest.mark.parametrize(
    ("code", "limits", "message"),
    [
        ("'\ud800'", {}, r"code has a lone surrogate, U\+D800, at character 1"),
        ("x\0", {}, "NUL"),
        ("#" * (256 << 10) + "#", {}, "over 262144 bytes"),
        ("#" * (5 << 20), {}, "larger than max"),
        ("1", {"wall_ms": -1}, "limits.wall_ms is -1"),
        ("1", {"cpu_ms": 10**9}, "limits.cpu_ms is 1000000000"),
        ("1", {"memory_bytes": 2**63 - 1}, "limits.memory_bytes is 9223372036854775807"),
        ("1", {"output_bytes": -(2**63)}, "limits.output_bytes is -9223372036854775808"),
    ],
    ids=["surrogate", "nul", "oversized", "oversized-message", "negative", "absurd", "highest", "lowest"],
)
async def test_invalid_input_is_rejected_without_retry_and_variables_are_kept(client, code, limits, message):
    async with client.session() as session:
        await session.run("x = 1")
        start = time.monotonic()
        with pytest.raises(InvalidRequest, match=message):
            await session.run(code, pb.Limits(**limits))
        assert time.monotonic() - start < 5  # it is not retried
        assert (await session.run("x")).value == "1"


async def test_limit_of_zero_is_the_default(client):
    assert (await client.execute("1", pb.Limits())).value == "1"


@pytest.mark.parametrize("options", [{"seed": -1}, {"seed": 2**64}, {"session_id": "é"}, {"session_id": "x" * 129}])
async def test_invalid_session_options_are_rejected(client, options):
    with pytest.raises(InvalidRequest, match=next(iter(options))):
        client.session(**options)


@pytest.mark.parametrize("name", ["x" * 129, "a\tb", "é", "\ud800"])
def test_invalid_client_name_is_rejected(name):
    with pytest.raises(InvalidRequest, match="client_name"):
        ExecutorClient("127.0.0.1:1", client_name=name)


async def test_client_over_its_rate_retries_after_the_given_delay(tmp_path):
    options = ("--waiting-sandboxes=1", "--snippets-per-second-per-client=2", "--burst=1")
    async with running(tmp_path, *options) as executor, client_of(executor, client_name="often") as client:
        start = time.monotonic()
        for _ in range(3):
            assert (await client.execute("1")).value == "1"
        assert time.monotonic() - start >= 1
        assert (await executor.execute("1", client="another")).value == "1"


async def test_no_capacity_within_the_patience_is_unavailable_with_the_reason(tmp_path):
    async with (
        running(tmp_path, "--waiting-sandboxes=1", "--max-sessions=1") as executor,
        executor.session(),
        client_of(executor, patience_s=0.5) as client,
    ):
        with pytest.raises(Unavailable, match="all 1 sessions are in use"):
            await client.execute("1")


async def test_info_without_an_executor_is_unavailable_within_its_deadline(tmp_path):
    async with ExecutorClient(f"unix:{tmp_path}/nobody") as client:
        start = time.monotonic()
        with pytest.raises(Unavailable, match="the executor at unix:"):
            await client.get_info(deadline_s=0.5)
        assert time.monotonic() - start < 3


async def test_info_waits_for_an_executor_that_is_starting(tmp_path):
    async with ExecutorClient(f"unix:{tmp_path}/socket") as client:
        asking = asyncio.create_task(client.get_info(deadline_s=30))
        await asyncio.sleep(0.2)
        async with running(tmp_path, "--waiting-sandboxes=1"):
            assert (await asking).backend == "native"

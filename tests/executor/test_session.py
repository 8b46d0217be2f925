"""Sessions: state, sequence numbers, and the order of requests."""

import asyncio

import grpc
import pytest

from deepmath.executor.v1 import executor_pb2 as pb

NEEDS_MATHS = False


async def test_variables_persist_between_snippets(executor):
    async with executor.session() as session:
        await session.run("x = 20")
        assert (await session.run("x + 1")).value == "21"


async def test_variables_assigned_before_an_exception_are_kept(executor):
    async with executor.session() as session:
        failed = await session.run("x = 5\n1 / 0")
        assert not failed.state_lost
        assert (await session.run("x")).value == "5"


async def test_functions_see_variables_that_are_assigned_later(executor):
    async with executor.session() as session:
        await session.run("def f(): return y")
        await session.run("y = 7")
        assert (await session.run("f()")).value == "7"


async def test_last_expression_is_the_value_and_not_printed(executor):
    result = await executor.execute("a = 'x'\na")
    assert (result.value, result.stdout) == ("'x'", "")


@pytest.mark.parametrize("code", ["x = 1", "None", "", "# nothing", "print(end='')"])
async def test_snippet_without_a_last_expression_has_no_value(executor, code):
    assert not (await executor.execute(code)).HasField("value")


async def test_stdout_and_stderr_are_separate(executor):
    result = await executor.execute("import numpy\nprint('out')\nnumpy.log(0)")
    assert result.stdout == "out\n"
    assert result.stderr == "<snippet 1>:3: RuntimeWarning: divide by zero encountered in log\n"


async def test_sessions_do_not_share_variables(executor):
    async with executor.session() as one, executor.session() as other:
        await one.run("secret = 1")
        assert (await other.run("secret")).exception.type == "NameError"


async def test_resent_sequence_returns_the_recorded_result(executor):
    async with executor.session() as session:
        await session.run("count = 0")
        first = await session.run("count += 1\ncount")
        await session.send("count += 1\ncount", sequence=2)
        assert (await session.read()).result == first
        assert (await session.run("count")).value == "1"


@pytest.mark.parametrize("sequence", [0, 1, 4, 2**64 - 1])
async def test_past_or_future_sequence_is_rejected(executor, sequence):
    async with executor.session() as session:
        await session.run("1")
        await session.run("2")
        await session.send("3", sequence=sequence)
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await session.read()
        assert failure.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "3 is next" in (failure.value.details() or "")


async def test_snippets_sent_ahead_run_in_order(executor):
    async with executor.session() as session:
        for sequence, code in enumerate(["x = [1]", "x.append(2)", "x"], start=1):
            await session.send(code, sequence)
        results = [(await session.read()).result for _ in range(3)]
        assert [result.sequence for result in results] == [1, 2, 3]
        assert results[-1].value == "[1, 2]"


async def test_session_continues_in_a_fresh_sandbox_after_state_loss(executor):
    async with executor.session() as session:
        await session.run("x = 1")
        lost = await session.run("import random\nrandom._os._exit(0)")
        assert lost.state_lost
        assert (await session.run("x")).exception.type == "NameError"
        assert (await session.run("1 + 1")).value == "2"


async def test_half_closed_stream_receives_its_last_result(executor):
    async with executor.session() as session:
        await session.send("sum(range(10**6))", sequence=1)
        await session.stream.done_writing()
        assert (await session.read()).result.value == "499999500000"
        assert await session.stream.code() is grpc.StatusCode.OK


async def test_stream_that_does_not_start_with_open_is_rejected(executor):
    stream = executor.stub.Session()
    await stream.write(pb.SessionRequest(run=pb.RunSnippet(sequence=1, code="1")))
    assert await stream.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_second_open_is_rejected(executor):
    async with executor.session() as session:
        await session.stream.write(pb.SessionRequest(open=pb.OpenSession()))
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await session.read()
        assert failure.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_empty_request_is_rejected(executor):
    async with executor.session() as session:
        await session.stream.write(pb.SessionRequest())
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await session.read()
        assert failure.value.code() is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("name", ["x" * 129, "line\nbreak", "é"])
async def test_session_id_that_is_not_short_printable_ascii_is_rejected(executor, name):
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        async with executor.session(session_id=name):
            pass
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_cancelling_the_stream_kills_the_sandbox(executor, bystander):
    await executor.until(lambda load: load.live_sessions == 1)  # the bystander's
    async with executor.session() as session:
        await session.send("while True: pass", sequence=1)
        await executor.until(lambda load: load.running_snippets == 1)
    await executor.until(lambda load: (load.live_sessions, load.running_snippets) == (1, 0), seconds=1)


async def test_many_concurrent_sessions_keep_their_own_state(executor):
    async def one(number: int) -> str:
        async with executor.session() as session:
            await session.run(f"x = {number}")
            return (await session.run("x * x")).value

    sessions = 20 if executor.sandboxes_are_cheap else 4
    assert await asyncio.gather(*map(one, range(sessions))) == [str(n * n) for n in range(sessions)]

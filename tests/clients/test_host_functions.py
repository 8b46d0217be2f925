"""Host calls of snippets: each made once, checked, bounded, and replayed."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.executor_process import Executor, running

from deepmath.clients import ExecutorSession, HostFunction
from deepmath.errors import InvalidRequest, ReplayDiverged, Unavailable
from deepmath.executor.v1 import executor_pb2 as pb

from .conftest import client_of

CLOCK = "clock = __import__('random')._os.sys.modules['time'].time_ns\n"


class Counter:
    """A function that counts its calls."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.functions = {"count": HostFunction(self.call, ("what",))}

    async def call(self, arguments: dict[str, Any]) -> int:
        self.calls.append(arguments)
        return len(self.calls)


@asynccontextmanager
async def moved(
    folder: Path, *snippets: str, counter: Counter, then: tuple[str, ...] = ()
) -> AsyncIterator[ExecutorSession]:
    """Run `snippets`, kill the executor, start another; yield the session."""
    async with running(folder, "--waiting-sandboxes=1") as first:
        client = client_of(first, patience_s=20)
        session = client.session()
        for code in snippets:
            assert (await session.run(code, host_functions=counter.functions)).outcome == pb.OUTCOME_OK
        first.process.kill()
    async with running(folder, "--waiting-sandboxes=1", *then), client, session:
        yield session


async def test_function_of_this_process_is_called(client):
    counter = Counter()
    async with client.session() as session:
        result = await session.run("count('a') + count(what='b')", host_functions=counter.functions)
    assert (result.value, counter.calls) == ("3", [{"what": "a"}, {"what": "b"}])


@pytest.mark.parametrize("value", [(1, 2), {3}, b"\xff", 1j, {1: "a"}, [None, 0.5, {"$type": "set"}]])
async def test_values_beyond_json_keep_their_types_both_ways(client, value):
    async def same(arguments: dict[str, Any]) -> Any:
        assert arguments["value"] == value
        return arguments["value"]

    async with client.session() as session:
        code = f"same({value!r}) == {value!r}"
        result = await session.run(code, host_functions={"same": HostFunction(same, ("value",))})
        assert result.value == "True", result


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            object(),
            "TypeError: f() returned a value that cannot be sent into the sandbox: object has no JSON representation",
        ),
        (open, "TypeError: f() returned a value that cannot be sent"),
        (
            "x" * (1 << 20),
            "ValueError: f() returned a value that cannot be sent into the sandbox: 1048578 bytes as JSON",
        ),
        ([0] * 30_000, "ValueError: f() returned a value that cannot be sent into the sandbox: more than 20000 parts"),
        (
            10**5000,
            "ValueError: f() returned a value that cannot be sent into the sandbox: an integer of over 4000 digits",
        ),
    ],
    ids=["object", "function", "long", "parts", "integer"],
)
async def test_result_that_cannot_be_encoded_is_an_error_in_the_snippet(client, value, message):
    async def f(_: dict[str, Any]) -> Any:
        return value

    async with client.session() as session:
        result = await session.run("f()", host_functions={"f": HostFunction(f)})
        assert f"{result.exception.type}: {result.exception.message}".startswith(message)


async def test_hanging_function_is_cancelled_and_raises_a_timeout_error(client):
    cancelled = asyncio.Event()

    async def hang(_: dict[str, Any]) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    async with client.session() as session:
        result = await session.run("hang()", host_functions={"hang": HostFunction(hang)}, host_call_s=0.3)
        assert result.exception.type == "TimeoutError"
        assert result.exception.message == "hang() was not answered within 0.3 s"
        assert cancelled.is_set()
        assert (await session.run("1 + 1")).value == "2"


async def test_function_that_blocks_its_loop_over_its_deadline_is_a_timeout_error_also_when_replayed(client):
    async def blocks(_: dict[str, Any]) -> str:
        time.sleep(0.5)  # noqa: ASYNC251 - blocks on purpose
        return "value"

    code = "try:\n    r = blocks()\nexcept TimeoutError:\n    r = 'late'\nr"
    async with client.session() as session:
        result = await session.run(code, host_functions={"blocks": HostFunction(blocks)}, host_call_s=0.3)
        assert result.value == "'late'"
        await session.close()
        assert (await session.run("r")).value == "'late'"


async def test_run_over_its_deadline_cancels_the_function_too(client):
    cancelled = asyncio.Event()

    async def hang(_: dict[str, Any]) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    async with client.session() as session:
        with pytest.raises(Unavailable, match="deadline"):
            await session.run("hang()", host_functions={"hang": HostFunction(hang)}, deadline_s=0.5)
        assert cancelled.is_set()


@pytest.mark.parametrize("name", ["a b", "class", "__import__", "x" * 65])
async def test_invalid_function_name_is_rejected(client, name):
    async with client.session() as session:
        with pytest.raises(InvalidRequest, match=r"host\.functions contains"):
            await session.run("1", host_functions={name: HostFunction(Counter().call)})


@pytest.mark.parametrize(
    "options", [{"host_call_s": -1}, {"host_call_s": 1e9}, {"host_call_s": 1e30}, {"host_calls": -1}]
)
async def test_limits_out_of_bounds_are_rejected(client, options):
    async with client.session() as session:
        with pytest.raises(InvalidRequest, match="host"):
            await session.run("1", host_functions=Counter().functions, **options)


async def test_replay_returns_recorded_results_and_calls_nothing(tmp_path):
    counter = Counter()
    async with moved(tmp_path, "x = count('a')", "y = count('b')", counter=counter) as session:
        assert (await session.run("x, y, count('c')", host_functions=counter.functions)).value == "(1, 2, 3)"
    assert [call["what"] for call in counter.calls] == ["a", "b", "c"]


async def test_recorded_errors_are_raised_again(tmp_path):
    class Failing(Counter):
        async def call(self, arguments: dict[str, Any]) -> int:
            await super().call(arguments)
            raise LookupError("not there")

    counter = Failing()
    code = "try:\n    count('a')\nexcept LookupError as error:\n    said = str(error)"
    async with moved(tmp_path, code, counter=counter) as session:
        assert (await session.run("said")).value == "'not there'"
    assert len(counter.calls) == 1


async def test_interrupted_snippet_gets_its_recorded_results_and_continues(tmp_path):
    class Deadly(Counter):
        executor: Executor

        async def call(self, arguments: dict[str, Any]) -> int:
            number = await super().call(arguments)
            if arguments["what"] == "b":
                self.executor.process.kill()
                await self.executor.process.wait()
            return number

    counter = Deadly()
    async with running(tmp_path, "--waiting-sandboxes=1") as counter.executor:
        client = client_of(counter.executor, patience_s=30)
        session = client.session()
        code = "count('a'), count('b'), count('c')"
        interrupted = asyncio.create_task(session.run(code, host_functions=counter.functions))
        await counter.executor.process.wait()
    async with running(tmp_path, "--waiting-sandboxes=1"), client, session:
        assert (await interrupted).value == "(1, 2, 3)"
    assert [call["what"] for call in counter.calls] == ["a", "b", "c"]


LESS_MEMORY = ("--memory-bytes=50000000",)


async def diverges(session: Any, message: str) -> None:
    with pytest.raises(ReplayDiverged, match=message):
        await session.run("1")


async def test_replay_with_other_arguments_diverges(tmp_path):
    counter = Counter()
    async with moved(tmp_path, f"{CLOCK}count(clock())", counter=counter) as session:
        await diverges(session, r"called count\(\) where it had called count\(\) with other arguments")
    assert len(counter.calls) == 1


async def test_replay_with_more_calls_diverges(tmp_path):
    counter = Counter()
    code = "try: bytearray(200 << 20)\nexcept MemoryError: count('x')"
    async with moved(tmp_path, code, counter=counter, then=LESS_MEMORY) as session:
        await diverges(session, r"called count\(\) where it had called nothing before")
    assert counter.calls == []


async def test_replay_with_fewer_calls_diverges(tmp_path):
    counter = Counter()
    code = "try: bytearray(200 << 20); count('x')\nexcept MemoryError: pass"
    async with moved(tmp_path, code, counter=counter, then=LESS_MEMORY) as session:
        await diverges(session, r"did not make its call 1, count\(\)")
    assert len(counter.calls) == 1

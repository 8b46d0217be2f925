"""The Python interface: results as values, errors that say what to do, and nothing left behind."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

import deepmath
import deepmath.sdk
from deepmath.clients import HostFunction
from deepmath.errors import InvalidRequest, Unavailable, WrongOrder
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.sdk.results import Solution


@pytest.fixture
def connection(executor_address):
    with deepmath.connect(executor=executor_address) as connection:
        yield connection


def test_lazy_names_are_those_of_the_stub() -> None:
    stub = Path(deepmath.__file__).with_name("__init__.pyi").read_text()
    names = {line.rpartition(" ")[2] for line in stub.splitlines() if line.startswith("from deepmath.sdk")}
    assert names == {name for name in dir(deepmath) if name.startswith("connect")}
    assert deepmath.connect is deepmath.sdk.connect
    assert deepmath.connect_async is deepmath.sdk.connect_async
    with pytest.raises(AttributeError, match="has no attribute 'conect'"):
        deepmath.conect  # type: ignore[attr-defined]  # noqa: B018


def test_package_alone_loads_no_grpc() -> None:
    program = "import sys, deepmath; print('grpc' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "False\n"


@pytest.mark.parametrize(
    ("code", "outcome", "value", "error"),
    [
        ("6 * 7", "OK", "42", ""),
        ("x = 1", "OK", None, ""),
        ("None", "OK", None, ""),
        ("1 / 0", "EXCEPTION", None, "ZeroDivisionError"),
        ("1 +", "EXCEPTION", None, "SyntaxError"),
        ("import socket", "POLICY_VIOLATION", None, "ImportError"),
        ("while True: pass", "WALL_TIMEOUT", None, "TimeoutError"),
    ],
)
def test_result_of_code_is_a_value(connection, code: str, outcome: str, value: str | None, error: str) -> None:
    result = connection.run(code, wall_seconds=0.5)
    assert (result.outcome, result.ok, result.value) == (outcome, outcome == "OK", value)
    assert (result.error.type if result.error else "") == error


def test_variables_live_in_a_session_only(connection) -> None:
    with connection.session(seed=7) as session:
        assert session.run("import random; x = random.random(); print(x)").ok
        drawn = session.run("x").value
    assert connection.run("x").error.type == "NameError"
    assert connection.run("import random; random.random()", seed=7).value == drawn


def test_code_calls_a_function_of_this_process(connection) -> None:
    async def double(arguments: dict[str, int]) -> int:
        return 2 * arguments["x"]

    assert connection.run("double(21)", functions={"double": HostFunction(double, ("x",))}).value == "42"


def test_output_comes_in_parts_while_the_code_runs(connection) -> None:
    """Output before a call of a function of this process comes before the call."""
    parts: list[tuple[str, str]] = []

    async def seen(_) -> int:
        return len(parts)

    code = "import sys\nprint('a')\nn = seen()\nprint('b')\nprint('c', file=sys.stderr)\nn"
    result = connection.run(code, functions={"seen": HostFunction(seen)}, on_output=lambda *part: parts.append(part))
    assert (result.ok, result.value) == (True, "1")
    assert parts == [("stdout", "a\n"), ("stdout", "b\n"), ("stderr", "c\n")]


def test_threads_share_a_connection(connection) -> None:
    with ThreadPoolExecutor(8) as threads:
        results = threads.map(lambda number: connection.run(f"{number} ** 2").value, range(24))
        assert list(results) == [str(number**2) for number in range(24)]


def test_closed_connection_says_so(executor_address) -> None:
    connection = deepmath.connect(executor=executor_address)
    session = connection.session()
    assert session.run("1").ok
    connection.close()
    connection.close()
    session.close()
    for call in (lambda: connection.run("1"), lambda: session.run("1"), lambda: connection.solve("?")):
        with pytest.raises(WrongOrder, match="closed"):
            call()


async def test_closed_asynchronous_connection_says_so(executor_address) -> None:
    async with deepmath.connect_async(executor=executor_address) as connection:
        assert (await connection.run("1")).ok
    with pytest.raises(WrongOrder, match="the connection is closed; connect again"):
        await connection.run("1")


async def test_cancelled_run_ends_in_the_executor(executor_address, executor) -> None:
    async with deepmath.connect_async(executor=executor_address) as connection:
        running = asyncio.create_task(connection.run("while True: pass", wall_seconds=20))
        while not (await executor.get_info()).load.running_snippets:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        async with asyncio.timeout(10):
            while (await executor.get_info()).load.live_sessions:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_connection_closed_during_a_start_leaves_nothing() -> None:
    before = {process.pid for process in psutil.Process().children()}
    async with deepmath.connect_async() as connection:
        running = asyncio.create_task(connection.run("1"))
        await asyncio.sleep(0)
        while {process.pid for process in psutil.Process().children()} == before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    with pytest.raises(WrongOrder, match="the connection is closed; connect again"):
        await running
    assert {process.pid for process in psutil.Process().children()} <= before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"generator": "127.0.0.1:1", "model": "x"}, "leave them out, or the generator's address"),
        ({"model": "./no-such-model"}, "no model at ./no-such-model"),
        ({"adapter": "no-such-adapter"}, "no adapter at no-such-adapter"),
        ({"dialect": "no-such-dialect"}, "no-such-dialect"),
        ({"tls": "~no-such-user/x"}, "there is no home directory"),
    ],
)
def test_mistake_is_refused_at_once(arguments: dict[str, str], message: str) -> None:
    for connect in (deepmath.connect, deepmath.connect_async):
        with pytest.raises(InvalidRequest, match=message):
            connect(**arguments)


def test_mistake_in_a_call_is_refused(connection) -> None:
    with pytest.raises(InvalidRequest, match="lone surrogate"):
        connection.run("\ud800")
    with deepmath.connect("nonsense") as other, pytest.raises(InvalidRequest, match="is not a valid address"):
        other.solve("What is 1 + 1?")
    with deepmath.connect("127.0.0.1:1") as other:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
            other.solve("What is 1 + 1?")
        with pytest.raises(InvalidRequest, match="give the address of an executor"):
            other.run("1")


def trajectory(sample: int, status: pb.Status.ValueType, answer: str = "") -> pb.SolveResponse:
    notes = ["executor lost"] if status == pb.STATUS_INFRASTRUCTURE_FAILED else []
    return pb.SolveResponse(sample=sample, trajectory=pb.Trajectory(status=status, answer=answer, notes=notes))


def test_infrastructure_failure_is_no_answer() -> None:
    lost = trajectory(0, pb.STATUS_INFRASTRUCTURE_FAILED)
    with pytest.raises(Unavailable, match="no sample was completed: executor lost"):
        Solution.of("?", [lost, pb.SolveResponse(vote=pb.Vote())])
    with pytest.raises(Unavailable, match="the call ended early"):
        Solution.of("?", [])
    vote = pb.SolveResponse(vote=pb.Vote(answer="4", counts=[pb.VoteCount(answer="4", votes=1)]))
    solution = Solution.of("?", [trajectory(1, pb.STATUS_ANSWERED, "4"), lost, vote])
    assert (solution.answer, solution.votes) == ("4", {"4": 1})
    assert [sample.status for sample in solution.samples] == ["INFRASTRUCTURE_FAILED", "ANSWERED"]

"""Log formats, and request ids from the client to the sandbox."""

import asyncio
import io
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from support.executor_process import Executor
from support.hostile_text import SURROGATE, TEXTS, steers

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.executor.v1 import executor_pb2_grpc as rpc
from deepmath.observability import request_id
from deepmath.observability.logs import JsonFormatter, TextFormatter
from deepmath.serving.grpc_config import GrpcServiceConfig
from deepmath.serving.grpc_server import GrpcServer

GENERATED = re.compile("[0-9a-f]{32}")


def lines(executor: Executor) -> list[dict[str, str]]:
    return _parsed(executor.log)


def audited(executor: Executor) -> list[dict[str, str]]:
    return _parsed(executor.log.parent / "audit")


def _parsed(file: Path) -> list[dict[str, str]]:
    *complete, _ = file.read_text().split("\n")
    return [json.loads(line) for line in complete]


async def written(
    read: Callable[[Executor], list[dict[str, str]]], executor: Executor, request: str, count: int = 1
) -> list[dict[str, str]]:
    """Return the lines about a request once there are `count`: they are written after the response."""
    async with asyncio.timeout(10):
        while len(found := [line for line in read(executor) if line.get("request_id") == request]) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return found


async def execute(executor: Executor, code: str, *metadata: tuple[str, str]) -> str:
    """Run `code` and return the request id in the trailing metadata."""
    call = executor.stub.Execute(pb.ExecuteRequest(code=code), metadata=metadata)
    await call
    identity = dict(await call.trailing_metadata())[request_id.KEY]
    assert isinstance(identity, str)
    return identity


def logged(formatter: logging.Formatter, message: str, error: Exception | None = None) -> str:
    """Return the log line for `message` in the current context."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    exception = (type(error), error, error.__traceback__) if error else None
    handler.emit(logging.LogRecord("deepmath.test", logging.ERROR, "x.py", 1, message, (), exception))
    return stream.getvalue()


async def test_request_id_of_the_caller_is_in_log_audit_log_and_response(observed) -> None:
    assert await execute(observed, "1", (request_id.KEY, "my-request.7")) == "my-request.7"
    (line,) = await written(lines, observed, "my-request.7")
    assert line["message"].startswith("deepmath.executor.v1.ExecutorService/Execute: ok after ")
    assert (line["service"], line["level"], len(line["trace_id"])) == ("executor", "info", 32)
    assert [line["outcome"] for line in await written(audited, observed, "my-request.7")] == ["OK"]


@pytest.mark.parametrize("malformed", ["", "a b", 'a"b', "x" * 65, "../../x", "a;b"])
async def test_malformed_request_id_is_replaced(observed, malformed) -> None:
    assert GENERATED.fullmatch(await execute(observed, "1", (request_id.KEY, malformed)))


async def test_call_without_a_request_id_gets_a_new_one(observed) -> None:
    ids = [await execute(observed, "1") for _ in range(2)]
    assert ids[0] != ids[1]
    assert all(map(GENERATED.fullmatch, ids))


async def test_every_line_is_one_object(observed) -> None:
    await written(lines, observed, await execute(observed, "print('one\\ntwo')"))
    assert all({"level", "time", "logger", "message"} <= set(line) for line in lines(observed))


async def test_metadata_is_not_logged(observed) -> None:
    request = await execute(observed, "1", ("authorization", "Bearer hunter2-token"))
    await asyncio.gather(written(lines, observed, request), written(audited, observed, request))
    assert "hunter2-token" not in observed.log.read_text() + (observed.log.parent / "audit").read_text()


async def test_request_id_propagates_from_the_generator_to_the_executor(generator, observed) -> None:
    async def solve(number: int) -> None:
        request_id.current.set(f"solve-{number}")  # each in its own task, as in a service that calls another
        async for _ in generator.client.solve("What is 6 * 7?"):
            pass

    await asyncio.gather(*(asyncio.create_task(solve(number)) for number in range(3)))
    for number in range(3):
        assert len(await written(audited, observed, f"solve-{number}")) == 1


class Broken(rpc.ExecutorServiceServicer):
    """A service whose handler raises."""

    async def GetInfo(self, request, context):  # noqa: N802
        raise ZeroDivisionError("hunter2 divided by zero")


async def test_unhandled_exception_is_reported_by_request_id_and_logged_with_its_traceback(caplog) -> None:
    caplog.handler.setFormatter(JsonFormatter("executor"))
    broken = Broken()  # type: ignore[abstract]  # it is so in the types only
    server = await GrpcServer.start(
        GrpcServiceConfig(), {"deepmath.executor.v1.ExecutorService": lambda s: register(broken, s)}
    )
    async with grpc.aio.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await rpc.ExecutorServiceStub(channel).GetInfo(pb.GetInfoRequest(), metadata=((request_id.KEY, "it-7"),))
    await server.stop(0)
    assert raised.value.code() is grpc.StatusCode.INTERNAL
    assert raised.value.details() == "internal error; the service's log has the traceback under request id it-7"
    (line,) = [line for line in map(json.loads, caplog.text.splitlines()) if line["level"] == "error"]
    assert line["request_id"] == "it-7"
    assert line["exception"].splitlines()[-1] == "ZeroDivisionError: hunter2 divided by zero"


def register(servicer: rpc.ExecutorServiceServicer, server: grpc.aio.Server) -> None:
    rpc.add_ExecutorServiceServicer_to_server(servicer, server)


@pytest.mark.parametrize("text", [*TEXTS.values(), SURROGATE])
@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter("executor")])
def test_no_text_forges_a_line_or_steers_a_terminal(formatter: logging.Formatter, text: str) -> None:
    first, *rest = logged(formatter, text, raised(text)).removesuffix("\n").split("\n")
    assert not steers("".join((first, *rest)), kept="")
    assert all(line.startswith("    ") for line in rest if line)
    assert rest or json.loads(first)["message"] == text


def raised(text: str) -> Exception:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


@pytest.mark.parametrize("message", ["one\ntwo", '","level":"info', "\u2028\x00\x1b[0m", "ünïcode"])
def test_message_cannot_forge_a_json_line(message) -> None:
    (line,) = logged(JsonFormatter(), message).split("\n")[:-1]
    assert json.loads(line)["message"] == message
    assert json.loads(line)["level"] == "error"


async def test_text_line_ends_with_its_request_id() -> None:
    assert "request" not in logged(TextFormatter(), "hello")
    request_id.current.set("r-1")
    assert logged(TextFormatter(), "hello").endswith("deepmath.test: hello [request r-1]\n")

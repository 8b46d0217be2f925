"""The gate that receives requests of unary calls."""

import asyncio
from typing import Any

import grpc
import pytest

from deepmath.errors import InvalidRequest
from deepmath.serving.request_gate import RequestGate


class Call:
    """A call whose request arrives when the test says so."""

    def __init__(self) -> None:
        self.is_read = False
        self.request: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def read(self) -> Any:
        self.is_read = True
        return await self.request


async def start(gate: RequestGate, *callers: str) -> list[tuple[Call, asyncio.Task[Any]]]:
    calls = [Call() for _ in callers]
    tasks = [asyncio.create_task(gate.receive(call, name)) for call, name in zip(calls, callers, strict=True)]
    await asyncio.sleep(0.01)
    return list(zip(calls, tasks, strict=True))


async def test_one_caller_gets_half_of_the_places_and_another_is_served() -> None:
    gate = RequestGate(places=4, seconds=10)
    started = await start(gate, *["a"] * 5, "b")
    assert [call.is_read for call, _ in started] == [True, True, False, False, False, True]
    started[0][0].request.set_result("request")
    assert await started[0][1] == "request"
    await asyncio.sleep(0)
    assert [call.is_read for call, _ in started] == [True, True, True, False, False, True]
    for _, task in started[1:]:
        task.cancel()
    await asyncio.gather(*(task for _, task in started[1:]), return_exceptions=True)
    fresh, *_ = await start(gate, "a")
    assert fresh[0].is_read
    fresh[0].request.set_result(1)
    await fresh[1]


async def test_request_that_does_not_arrive_frees_its_place() -> None:
    gate = RequestGate(places=1, seconds=0.05)
    (_, late), (call, waiting) = await start(gate, "a", "b")
    with pytest.raises(InvalidRequest, match=r"did not arrive within 0\.05 s"):
        await late
    await asyncio.sleep(0)
    call.request.set_result("request")
    assert await waiting == "request"


async def test_call_without_a_request_is_invalid() -> None:
    ((call, task),) = await start(RequestGate(places=1, seconds=1), "a")
    call.request.set_result(grpc.aio.EOF)
    with pytest.raises(InvalidRequest, match="without a request"):
        await task

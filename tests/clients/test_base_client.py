"""Streams of servers that shut down."""

from collections.abc import AsyncIterator

import grpc
import pytest

from deepmath.clients import GeneratorClient
from deepmath.errors import Unavailable
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.generator.v1 import generator_pb2_grpc as rpc


class CancellingServicer(rpc.GeneratorServiceServicer):
    """Cancels the first `cancelled` calls as a stopping server does, each after `responses` responses."""

    def __init__(self) -> None:
        self.cancelled, self.responses, self.calls = 0, 0, 0

    async def Rollout(self, request, context):  # noqa: N802  (gRPC's name)
        self.calls += 1
        cancels = self.calls <= self.cancelled
        for prompt in request.prompts[: self.responses if cancels else None]:
            yield pb.RolloutResponse(id=prompt.id)
        if cancels:
            await context.abort(grpc.StatusCode.CANCELLED)


@pytest.fixture
async def server(tmp_path) -> AsyncIterator[CancellingServicer]:
    servicer = CancellingServicer()  # type: ignore[abstract]  # it is so in the types only
    server = grpc.aio.server()
    rpc.add_GeneratorServiceServicer_to_server(servicer, server)
    server.add_insecure_port(f"unix:{tmp_path}/socket")
    await server.start()
    yield servicer
    await server.stop(0)


@pytest.fixture
async def client(tmp_path, server) -> AsyncIterator[GeneratorClient]:
    async with GeneratorClient(f"unix:{tmp_path}/socket") as client:
        yield client


PROMPTS = [pb.RolloutPrompt(id=name, question="1 + 1?") for name in ("a", "b")]


async def test_call_cancelled_before_its_first_response_is_retried(client, server):
    server.cancelled = 2
    assert [response.id async for response in client.rollout(PROMPTS)] == ["a", "b"]
    assert server.calls == 3


async def test_call_cancelled_after_a_response_is_unavailable_and_not_retried(client, server):
    server.cancelled, server.responses = 1, 1
    responses = client.rollout(PROMPTS)
    assert (await anext(responses)).id == "a"
    with pytest.raises(Unavailable, match="shutting down"):
        await anext(responses)
    assert server.calls == 1


async def test_call_cancelled_by_every_server_is_unavailable(client, server):
    server.cancelled = 100
    with pytest.raises(Unavailable, match="shutting down"):
        await anext(client.rollout(PROMPTS))
    assert server.calls == 5

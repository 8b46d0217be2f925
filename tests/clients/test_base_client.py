"""What a caller of a stream gets when servers go down."""

from collections.abc import AsyncIterator

import grpc
import pytest

from deepmath.clients import GeneratorClient
from deepmath.errors import Unavailable
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.generator.v1 import generator_pb2_grpc as rpc


class GoingDown(rpc.GeneratorServiceServicer):
    """Cancels calls as a server does that stops: the first `cancelled`, each after `answers` answers."""

    def __init__(self) -> None:
        self.cancelled, self.answers, self.calls = 0, 0, 0

    async def Rollout(self, request, context):  # noqa: N802  (gRPC's name)
        self.calls += 1
        going = self.calls <= self.cancelled
        for prompt in request.prompts[: self.answers if going else None]:
            yield pb.RolloutResponse(id=prompt.id)
        if going:
            await context.abort(grpc.StatusCode.CANCELLED)


@pytest.fixture
async def server(tmp_path) -> AsyncIterator[GoingDown]:
    servicer = GoingDown()
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


async def test_call_that_is_cancelled_before_it_is_answered_is_made_again(client, server):
    server.cancelled = 2
    assert [response.id async for response in client.rollout(PROMPTS)] == ["a", "b"]
    assert server.calls == 3


async def test_call_that_is_cancelled_after_an_answer_is_unavailable_and_answered_once(client, server):
    server.cancelled, server.answers = 1, 1
    responses = client.rollout(PROMPTS)
    assert (await anext(responses)).id == "a"
    with pytest.raises(Unavailable, match="shutting down"):
        await anext(responses)
    assert server.calls == 1


async def test_call_that_is_cancelled_everywhere_is_unavailable(client, server):
    server.cancelled = 100
    with pytest.raises(Unavailable, match="shutting down"):
        await anext(client.rollout(PROMPTS))
    assert server.calls == 5

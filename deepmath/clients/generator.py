"""Client of the generator service."""

from collections.abc import AsyncIterator, Iterable

import grpc

from deepmath.clients.client import Client
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.generator.v1 import generator_pb2_grpc as rpc

_INFO_DEADLINE_S = 5.0


class GeneratorClient(Client):
    """A channel to one or many generators.

    Every method raises InvalidRequest for what the generator refuses, Overloaded where it has no room and Unavailable
    where it cannot be reached. Leaving an iterator early cancels the call.
    """

    service = "generator"

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.stub = rpc.GeneratorServiceStub(self.channel)

    async def solve(
        self,
        question: str,
        *,
        samples: int = 1,
        mode: pb.Mode.ValueType = pb.MODE_AGENT,
        sampling: pb.Sampling | None = None,
        budget: pb.Budget | None = None,
    ) -> AsyncIterator[pb.SolveResponse]:
        """Solve `question` and yield what happens while it happens; the last event is the vote."""
        request = pb.SolveRequest(question=question, samples=samples, mode=mode, sampling=sampling, budget=budget)
        call = self.stub.Solve(request)
        try:
            async for event in call:
                yield event
        except grpc.aio.AioRpcError as error:
            raise self.explained(error) from None
        finally:
            call.cancel()

    async def rollout(
        self,
        prompts: Iterable[pb.RolloutPrompt],
        *,
        mode: pb.Mode.ValueType = pb.MODE_AGENT,
        sampling: pb.Sampling | None = None,
        budget: pb.Budget | None = None,
    ) -> AsyncIterator[pb.RolloutResponse]:
        """Run every prompt once, all at the same time, and yield the trajectories as they end."""
        call = self.stub.Rollout(pb.RolloutRequest(prompts=prompts, mode=mode, sampling=sampling, budget=budget))
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise self.explained(error) from None
        finally:
            call.cancel()

    async def get_info(self, deadline_s: float = _INFO_DEADLINE_S) -> pb.GetInfoResponse:
        """Return what one generator says of itself.

        Raises:
            Unavailable: none could be reached within `deadline_s`.
        """
        return await self.ask(lambda timeout: self.stub.GetInfo(pb.GetInfoRequest(), timeout=timeout), deadline_s)

"""A generator without a model, which answers as a test says and records the policies that it gets."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from deepmath.access.tls import server_credentials, watch_tls_files
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.generator.v1 import generator_pb2_grpc as rpc

MODEL = "tiny-math"


@dataclass
class ScriptedGenerator(rpc.GeneratorServiceServicer):
    """Fails the first calls of GetInfo with `failures`, each a status or the reason for which no executor answers."""

    model: str = MODEL
    max_lora_rank: int = 32
    failures: deque[grpc.StatusCode | str] = field(default_factory=deque)
    policies: list[int] = field(default_factory=list)
    sampled_by: list[int] = field(default_factory=list)
    """Policy version of each rollout; it is among `policies`, or 0."""

    async def GetInfo(self, request: pb.GetInfoRequest, context: Any) -> pb.GetInfoResponse:  # noqa: N802
        failure = self.failures.popleft() if self.failures else ""
        if isinstance(failure, grpc.StatusCode):
            await context.abort(failure, "loading the model")
            raise AssertionError  # not reached
        loaded = [pb.Policy(), *(pb.Policy(run="r", version=version) for version in self.policies)]
        return pb.GetInfoResponse(
            model=self.model,
            context_length=4096,
            max_lora_rank=self.max_lora_rank,
            loaded_policies=loaded,
            executor_failure=failure,
        )

    async def UpdateAdapter(self, request_iterator: Any, context: Any) -> pb.UpdateAdapterResponse:  # noqa: N802
        async for message in request_iterator:
            if message.HasField("header"):
                self.policies.append(message.header.policy_version)
        return pb.UpdateAdapterResponse(policy_version=self.policies[-1])

    async def Rollout(self, request: pb.RolloutRequest, context: Any) -> AsyncIterator[pb.RolloutResponse]:  # noqa: N802
        if request.policy.version not in (0, *self.policies):
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no such policy")
        self.sampled_by.append(request.policy.version)
        for prompt in request.prompts:
            yield pb.RolloutResponse(id=prompt.id)

    async def _unused(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    Solve = Chat = LoadCheckpoint = _unused  # type: ignore[assignment]

    @asynccontextmanager
    async def serve(self, address: str = "127.0.0.1:0", tls: Path | None = None) -> AsyncIterator[str]:
        """Serve on `address` for a block, and return the address with its port."""
        server = grpc.aio.server()
        rpc.add_GeneratorServiceServicer_to_server(self, server)
        if tls:
            port = server.add_secure_port(address, server_credentials(watch_tls_files(tls)))
        else:
            port = server.add_insecure_port(address)
        await server.start()
        try:
            yield f"{address.rpartition(':')[0]}:{port}"
        finally:
            await server.stop(0)

"""A generator whose answers, prose, code, output and notes are hostile text."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from deepmath.executor.v1 import executor_pb2
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.generator.v1 import generator_pb2_grpc
from deepmath.serving.grpc_config import GrpcServiceConfig
from deepmath.serving.grpc_server import GrpcServer

_SERVICE = "deepmath.generator.v1.GeneratorService"


class HostileGenerator(generator_pb2_grpc.GeneratorServiceServicer):
    """Writes `text` wherever a model, a snippet or a server can. The question `fail` is refused with `text`."""

    def __init__(self, text: str) -> None:
        self.text = text

    async def GetInfo(self, request: pb.GetInfoRequest, context: Any) -> pb.GetInfoResponse:  # noqa: N802
        return pb.GetInfoResponse(dialect=self.text, prompt_template=self.text)

    async def Solve(self, request: pb.SolveRequest, context: Any) -> AsyncIterator[pb.SolveResponse]:  # noqa: N802
        text = self.text
        if request.question == "fail":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        snippet = pb.SnippetRun(
            code=f"# {text}\nprint(1)",
            result=executor_pb2.SnippetResult(outcome=executor_pb2.OUTCOME_OK, stdout=text, stderr=text, value=text),
        )
        failed = request.question == "infrastructure"
        trajectory = pb.Trajectory(
            status=pb.STATUS_INFRASTRUCTURE_FAILED if failed else pb.STATUS_ANSWERED,
            answer="" if failed else text,
            text=f"{text}<tool_call>\n{text}\n</tool_call>\n```output\n{text}\n```\n{text}",
            snippets=[snippet],
            notes=[text],
        )
        for sample in range(request.samples or 1):
            yield pb.SolveResponse(sample=sample, text=pb.TextDelta(text=text))
            yield pb.SolveResponse(sample=sample, snippet=pb.SnippetStarted(code=snippet.code))
            yield pb.SolveResponse(sample=sample, result=pb.ToolResult(text=text, result=snippet.result))
            yield pb.SolveResponse(sample=sample, note=pb.Note(text=text))
            yield pb.SolveResponse(sample=sample, trajectory=trajectory)
        yield pb.SolveResponse(vote=pb.Vote(answer=text, counts=[pb.VoteCount(answer=text, votes=1)]))


@asynccontextmanager
async def serve_hostile_generator(text: str) -> AsyncIterator[str]:
    """Serve such a generator for a block, and yield its address."""
    servicer = HostileGenerator(text)  # type: ignore[abstract]

    def register(server: grpc.aio.Server) -> None:
        generator_pb2_grpc.add_GeneratorServiceServicer_to_server(servicer, server)

    server = await GrpcServer.start(GrpcServiceConfig(), {_SERVICE: register})
    yield server.address
    await server.stop(0)

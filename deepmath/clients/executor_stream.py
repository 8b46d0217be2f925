"""A session on one executor, as long as that lasts."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc

from deepmath.errors import DeepMathError, Unavailable
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.executor.v1 import executor_pb2_grpc as rpc
from deepmath.observability import tracing

_QUEUE_PATIENCE_S = 120.0  # over a snippet's own limit, before an executor that says nothing is taken for dead

Metadata = tuple[tuple[str, str], ...]
Answer = Callable[[pb.HostCall], Awaitable[pb.HostResult]]
Explained = Callable[["grpc.aio.AioRpcError"], Awaitable[DeepMathError]]


class SandboxFailed(Unavailable):
    """The executor says that its sandbox failed, and that it was not the snippet's doing."""


class ExecutorStream:
    """Counts its snippets. Whatever a method raises, the stream is over."""

    def __init__(self, stub: rpc.ExecutorServiceStub, metadata: Metadata, explained: Explained) -> None:
        self._explained = explained
        self._call: grpc.aio.StreamStreamCall[pb.SessionRequest, pb.SessionResponse]
        self._call = stub.Session(metadata=metadata)
        self.sequence = 0

    async def open(self, opening: pb.OpenSession) -> str:
        """Open the session and return the digest of the executor's versions.

        Raises:
            Overloaded: it has no room.
            Unavailable: it cannot be reached, or is going down.
        """
        return (await self._exchange(pb.SessionRequest(open=opening), _QUEUE_PATIENCE_S)).opened.versions_digest

    async def run(self, snippet: pb.RunSnippet, answer: Answer | None = None) -> pb.SnippetResult:
        """Run the next snippet. Its `sequence` and `traceparent` are filled in. `answer` is asked for its host calls.

        Raises:
            DeepMathError: `answer` raises it.
            InvalidRequest: the code or the limits are refused.
            SandboxFailed: by no fault of the snippet.
            Unavailable: the executor has gone, or has ended the session.
        """
        self.sequence = snippet.sequence = self.sequence + 1
        snippet.traceparent = tracing.traceparent()
        patience = snippet.limits.wall_ms / 1000 + _QUEUE_PATIENCE_S
        response = await self._exchange(pb.SessionRequest(run=snippet), patience)
        while response.WhichOneof("response") == "host_call" and answer is not None:
            answered = await answer(response.host_call)
            response = await self._exchange(pb.SessionRequest(host_result=answered), patience)
        result = response.result
        if result.sequence != snippet.sequence:
            raise Unavailable(f"the executor answered snippet {result.sequence} in place of {snippet.sequence}")
        if result.outcome == pb.OUTCOME_SANDBOX_FAILED:
            raise SandboxFailed(f"the sandbox failed: {result.exception.message or 'no reason given'}")
        return result

    def close(self) -> None:
        """End the session; its sandbox is killed."""
        self._call.cancel()

    async def _exchange(self, request: pb.SessionRequest, patience_s: float) -> pb.SessionResponse:
        try:
            async with asyncio.timeout(patience_s):
                await self._call.write(request)
                response = await self._call.read()
        except TimeoutError:
            raise Unavailable(f"the executor said nothing for {patience_s:.0f} s") from None
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise await self._reason() from None
        if not isinstance(response, pb.SessionResponse):  # the end of the stream
            raise await self._reason()
        return response

    async def _reason(self) -> DeepMathError:
        """Return why the stream is over. A stream may be over in good order, and still too soon."""
        call = self._call
        error = grpc.aio.AioRpcError(
            await call.code(), await call.initial_metadata(), await call.trailing_metadata(), await call.details()
        )
        if error.code() in (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL):
            return Unavailable(f"the executor ended the session: {error.details() or error.code().name}")
        return await self._explained(error)

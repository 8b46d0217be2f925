"""The stream of a session on one executor."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc

from deepmath.errors import DeepMathError, Unavailable
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.executor.v1 import executor_pb2_grpc as rpc
from deepmath.observability import tracing
from deepmath.rpc.grpc_patches.ended_stream import ENDED_STREAM_ERRORS

_QUEUE_PATIENCE_S = 120.0  # beyond a snippet's own limit, until a silent executor counts as dead

Metadata = tuple[tuple[str, str], ...]
AnswerHostCall = Callable[[pb.HostCall], Awaitable[pb.HostResult]]
OnOutput = Callable[[pb.SnippetOutput], None]
Translate = Callable[["grpc.aio.AioRpcError"], Awaitable[DeepMathError]]


class SandboxFailed(Unavailable):
    """The executor's sandbox failed, for no fault of the snippet."""


class ExecutorStream:
    """Numbers its snippets. After any exception the stream is over."""

    def __init__(self, stub: rpc.ExecutorServiceStub, metadata: Metadata, translate: Translate) -> None:
        self._translate = translate
        self._call: grpc.aio.StreamStreamCall[pb.SessionRequest, pb.SessionResponse]
        self._call = stub.Session(metadata=metadata)
        self.sequence = 0

    async def open(self, opening: pb.OpenSession) -> str:
        """Open the session and return the digest of the executor's versions.

        Raises:
            Overloaded: It has no capacity.
            Unavailable: It cannot be reached or is shutting down.
        """
        return (await self._exchange(pb.SessionRequest(open=opening), _QUEUE_PATIENCE_S)).opened.versions_digest

    async def run(
        self,
        snippet: pb.RunSnippet,
        answer_host_call: AnswerHostCall | None = None,
        on_output: OnOutput | None = None,
    ) -> pb.SnippetResult:
        """Run the next snippet, setting its `sequence` and `traceparent`, and answering its host calls.

        `on_output` receives its output while it runs.

        Raises:
            DeepMathError: `answer_host_call` raised it.
            InvalidRequest: The code or the limits were rejected.
            SandboxFailed: The sandbox failed, for no fault of the snippet.
            Unavailable: The executor is gone or has ended the session.
        """
        self.sequence = snippet.sequence = self.sequence + 1
        snippet.traceparent = tracing.traceparent()
        snippet.stream_output = on_output is not None
        patience = snippet.limits.wall_ms / 1000 + _QUEUE_PATIENCE_S
        response = await self._exchange(pb.SessionRequest(run=snippet), patience)
        while True:
            kind = response.WhichOneof("response")
            if kind == "host_call" and answer_host_call is not None:
                host_result = await answer_host_call(response.host_call)
                response = await self._exchange(pb.SessionRequest(host_result=host_result), patience)
            elif kind == "output" and on_output is not None:
                on_output(response.output)
                response = await self._exchange(None, patience)
            else:
                break
        result = response.result
        if result.sequence != snippet.sequence:
            raise Unavailable(f"the executor answered snippet {result.sequence} in place of {snippet.sequence}")
        if result.outcome == pb.OUTCOME_SANDBOX_FAILED:
            raise SandboxFailed(f"the sandbox failed: {result.exception.message or 'no reason given'}")
        return result

    def close(self) -> None:
        """End the session, which kills its sandbox."""
        self._call.cancel()

    async def _exchange(self, request: pb.SessionRequest | None, patience_s: float) -> pb.SessionResponse:
        """Send a request, if any, and return the next response."""
        try:
            async with asyncio.timeout(patience_s):
                if request is not None:
                    await self._call.write(request)
                response = await self._call.read()
        except TimeoutError:
            raise Unavailable(f"the executor did not respond within {patience_s:.0f} s") from None
        except ENDED_STREAM_ERRORS:
            raise await self._end_reason() from None
        if not isinstance(response, pb.SessionResponse):  # the end of the stream
            raise await self._end_reason()
        return response

    async def _end_reason(self) -> DeepMathError:
        """Return why the stream ended. One that ended with OK ended too early all the same."""
        call = self._call
        error = grpc.aio.AioRpcError(
            await call.code(), await call.initial_metadata(), await call.trailing_metadata(), await call.details()
        )
        if error.code() in (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL):
            return Unavailable(f"the executor ended the session: {error.details() or error.code().name}")
        return await self._translate(error)

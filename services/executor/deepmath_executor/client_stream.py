"""The messages on a session stream: the client's requests, host calls with their results, and output previews."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import grpc

from deepmath.errors import Unavailable, WrongOrder
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.supervisor.call_parser import HostCall
from deepmath.sandbox.supervisor.output_preview import OutputPreview
from deepmath.sandbox.supervisor.snippet import Snippet
from deepmath_executor.host_calls import check_result

# Beyond a call's deadline. The client enforces the deadline, because only it knows what it did; this is for a client
# that does not answer.
_MARGIN_S = 2.0


class ClientStream:
    """Reads the requests of one stream, and writes its responses one after the other. A context manager.

    Cancelling a gRPC read loses its message. So a read that outlasts a call's deadline continues, and its message is
    the next request.
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        self._reading: asyncio.Task[Any] | None = None
        self._preview: OutputPreview | None = None
        self._previewing: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()  # gRPC writes one message at a time
        self._last_call = (0, 0)  # sequence of the snippet, number of the call

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for task in (self._reading, self._previewing):
            if task is not None:
                task.cancel()

    async def write(self, response: pb.SessionResponse) -> None:
        """Write a response, after those that are being written."""
        async with self._writing:
            await self._context.write(response)

    @contextmanager
    def previewing(self, snippet: pb.RunSnippet) -> Iterator[OutputPreview | None]:
        """Return the preview of a snippet that runs in the block, whose pieces go to the client; None if it wants none.

        A client that does not read gets fewer and larger pieces. Nothing waits for it before the next `write`.
        """
        if not snippet.stream_output:
            yield None
            return
        preview = self._preview = OutputPreview()
        self._previewing = asyncio.create_task(self._send_previews(preview, snippet.sequence))
        self._previewing.add_done_callback(_observe)
        try:
            yield preview
        finally:
            preview.end()
            self._preview = None

    async def next(self) -> Any:
        """Return the next request, or EOF."""
        if self._reading is None:
            return await self._context.read()
        reading, self._reading = self._reading, None
        return await reading

    def is_late(self, request: pb.SessionRequest) -> bool:
        """Return whether a request is the result of a call that has already ended."""
        if request.WhichOneof("request") != "host_result":
            return False
        return (request.host_result.sequence, request.host_result.number) <= self._last_call

    async def call_client(self, call: HostCall, snippet: Snippet) -> pb.HostResult:
        """Forward `call` to the client and return its result, or a TimeoutError if there is none in time.

        Raises:
            WrongOrder: The client sends something else, or closed its half of the stream.
            InvalidRequest: The result is empty or too long.
            Unavailable: The client does not read.
        """
        assert snippet.offer is not None
        deadline_ms = snippet.offer.call_ms
        end = asyncio.get_running_loop().time() + deadline_ms / 1e3 + _MARGIN_S
        previous, self._last_call = self._last_call, (snippet.sequence, call.number)
        await self._send(call, snippet.sequence, deadline_ms, end)
        while (request := await self._next_until(end)) is not None:
            if request is grpc.aio.EOF or request.WhichOneof("request") != "host_result":
                raise WrongOrder("a host call is pending; its `host_result` must come next")
            result: pb.HostResult = request.host_result
            if (result.sequence, result.number) == self._last_call:
                check_result(result)
                return result
            if (result.sequence, result.number) > previous:
                raise WrongOrder(f"host_result is for call {result.number} of snippet {result.sequence}, not made yet")
        message = f"{call.function}() was not answered within {deadline_ms / 1e3:g} s"
        return pb.HostResult(error=pb.HostError(type="TimeoutError", message=message))

    async def _send(self, call: HostCall, sequence: int, deadline_ms: int, end: float) -> None:
        message = pb.HostCall(
            sequence=sequence,
            number=call.number,
            function=call.function,
            arguments=call.arguments,
            deadline_ms=deadline_ms,
        )
        try:
            async with asyncio.timeout_at(end):
                if self._preview is not None and (texts := self._preview.take()):
                    await self._write_output(texts, sequence)
                await self.write(pb.SessionResponse(host_call=message))
        except TimeoutError:
            raise Unavailable(f"the client did not read a host call for {deadline_ms / 1e3:g} s") from None

    async def _send_previews(self, preview: OutputPreview, sequence: int) -> None:
        while (texts := await preview.next()) is not None:
            await self._write_output(texts, sequence)

    async def _write_output(self, texts: tuple[str, str], sequence: int) -> None:
        output = pb.SnippetOutput(sequence=sequence, stdout=texts[0], stderr=texts[1])
        await self.write(pb.SessionResponse(output=output))

    async def _next_until(self, end: float) -> Any:
        """Return the next request, or None if there is none by `end`."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._context.read())
        left = end - asyncio.get_running_loop().time()
        await asyncio.wait({self._reading}, timeout=max(0.0, left))
        if not self._reading.done():
            return None
        reading, self._reading = self._reading, None
        return reading.result()


def _observe(previewing: asyncio.Task[None]) -> None:
    """Take note of the error of a stream that has ended; whatever else uses the stream raises it too."""
    if not previewing.cancelled():
        previewing.exception()

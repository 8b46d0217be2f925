"""The client's half of a session: what it sends next, and its answers to the calls of the snippet that runs."""

import asyncio
from typing import Any, Self

import grpc

from deepmath.errors import Unavailable, WrongOrder
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.supervisor.call_parser import HostCall
from deepmath.sandbox.supervisor.snippet import Snippet
from deepmath_executor.host_calls import check_result

_MARGIN_S = (
    2.0  # The client judges whether it was in time, as only it knows what it did; this is for one that is silent.
)


class ClientStream:
    """Reads the requests of one stream. A context manager.

    A read that grpc has begun cannot be given up without losing what it would have read. So one that a call's deadline
    has cut short goes on, and what it brings is the next request, whoever asks for that.
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        self._reading: asyncio.Task[Any] | None = None
        self._asked = (0, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()

    async def next(self) -> Any:
        """Return the next request, or EOF."""
        if self._reading is None:
            return await self._context.read()
        reading, self._reading = self._reading, None
        return await reading

    def is_late(self, request: pb.SessionRequest) -> bool:
        """Whether this is the answer to a call that is over, which nobody waits for any more."""
        if request.WhichOneof("request") != "host_result":
            return False
        return (request.host_result.sequence, request.host_result.number) <= self._asked

    async def ask(self, call: HostCall, snippet: Snippet) -> pb.HostResult:
        """Have the client answer `call` within the snippet's deadline; for one that does not, answer that it timed out.

        Raises:
            WrongOrder: the client sends something else, or nothing any more.
            InvalidRequest: the answer is none.
            Unavailable: the client does not read.
        """
        assert snippet.offer is not None
        deadline_ms = snippet.offer.call_ms
        end = asyncio.get_running_loop().time() + deadline_ms / 1e3 + _MARGIN_S
        sequence, number = snippet.sequence, call.number
        earlier, self._asked = self._asked, (sequence, number)
        message = pb.HostCall(
            sequence=sequence,
            number=number,
            function=call.function,
            arguments=call.arguments,
            deadline_ms=deadline_ms,
        )
        try:
            async with asyncio.timeout_at(end):
                await self._context.write(pb.SessionResponse(host_call=message))
        except TimeoutError:
            raise Unavailable(f"the client read no host call for {deadline_ms / 1e3:g} s") from None
        while (request := await self._next_until(end)) is not None:
            if request is grpc.aio.EOF or request.WhichOneof("request") != "host_result":
                raise WrongOrder("while a snippet waits for a host call, the client has to send its `host_result`")
            result: pb.HostResult = request.host_result
            if (result.sequence, result.number) == self._asked:
                check_result(result)
                return result
            if (result.sequence, result.number) > earlier:
                raise WrongOrder(f"host_result is for call {result.number} of snippet {result.sequence}, not made yet")
        message_text = f"{call.function}() was not answered within {deadline_ms / 1e3:g} s"
        return pb.HostResult(error=pb.HostError(type="TimeoutError", message=message_text))

    async def _next_until(self, end: float) -> Any:
        """Return the next request, or None where none has come by `end`."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._context.read())
        left = end - asyncio.get_running_loop().time()
        await asyncio.wait({self._reading}, timeout=max(0.0, left))
        if not self._reading.done():
            return None
        reading, self._reading = self._reading, None
        return reading.result()

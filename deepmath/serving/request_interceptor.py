"""Server interceptor that receives the request of a unary call only once the call is admitted, and counts calls."""

from __future__ import annotations  # grpc's classes are generic in their stubs only

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from deepmath.access.caller_identity import proven_name
from deepmath.access.scopes import HEALTH, service_of
from deepmath.errors import Overloaded
from deepmath.rpc.field_limit import limit_fields
from deepmath.rpc.handler_wrapping import defer_request, wrap_handler
from deepmath.serving.request_gate import RequestGate

_HEALTH_PLACES, _HEALTH_SECONDS = 4, 5.0
_RETRY_MS = 500
_JITTER = 0.5  # calls rejected together should not be retried together


class RequestInterceptor(grpc.aio.ServerInterceptor):
    """The innermost interceptor: the others, which authenticate the caller, run before a byte of the request is read.

    Args:
        unread_bytes: Memory for requests that are being received.
        message_bytes: Size limit of a message.
        seconds: Time for a request to arrive.
        max_calls: Concurrent calls; more are rejected. Health checks, which need no token, do not count.
        max_fields: Fields of a message; one with more is rejected before it is parsed.
    """

    def __init__(self, unread_bytes: int, message_bytes: int, seconds: float, max_calls: int, max_fields: int) -> None:
        self._gate = RequestGate(max(1, unread_bytes // message_bytes), seconds)
        self._health_gate = RequestGate(_HEALTH_PLACES, _HEALTH_SECONDS)
        self._max_calls = max_calls
        self._max_fields = max_fields
        self._calls = 0

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler of a call."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        handler = limit_fields(handler, self._max_fields)
        if service_of(handler_call_details.method) == HEALTH:
            return defer_request(handler, lambda context: self._health_gate.receive(context, ""))
        return wrap_handler(defer_request(handler, self._receive), lambda _: self._count())

    async def _receive(self, context: Any) -> Any:
        return await self._gate.receive(context, proven_name() or context.peer().rpartition(":")[0])

    @asynccontextmanager
    async def _count(self) -> AsyncIterator[None]:
        if self._calls >= self._max_calls:
            retry_ms = round(_RETRY_MS * random.uniform(1, 1 + _JITTER))
            raise Overloaded(f"{self._calls} calls are in flight, the most that this service takes", retry_ms)
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

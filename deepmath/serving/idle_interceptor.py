"""Server interceptor that measures for how long a service has had nothing to do, and reports it with GetInfo."""

from __future__ import annotations  # grpc's classes are generic in their stubs only

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from deepmath.rpc.handler_wrapping import wrap_handler
from deepmath.rpc.metadata import IDLE_MS

_OURS, _GET_INFO = "/deepmath.", "/GetInfo"


class IdleInterceptor(grpc.aio.ServerInterceptor):
    """Counts the calls that were admitted. Health checks, reflection and GetInfo, by which others watch, do not count.

    The trailing metadata `IDLE_MS` of GetInfo is the time since the last call ended, and 0 while one is in flight.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._last = time.monotonic()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler of a call."""
        handler, method = await continuation(handler_call_details), handler_call_details.method
        if handler is None or not method.startswith(_OURS):
            return handler
        return wrap_handler(handler, self._report if method.endswith(_GET_INFO) else lambda _: self._count())

    @asynccontextmanager
    async def _report(self, context: Any) -> AsyncIterator[None]:
        idle_s = 0.0 if self._calls else time.monotonic() - self._last
        context.set_trailing_metadata((*(context.trailing_metadata() or ()), (IDLE_MS, str(int(1000 * idle_s)))))
        yield

    @asynccontextmanager
    async def _count(self) -> AsyncIterator[None]:
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            self._last = time.monotonic()

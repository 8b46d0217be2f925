"""Server interceptor that gives each call a request id, metrics, a span and a log line."""

from __future__ import annotations  # grpc's classes are generic in their stubs only

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc

from deepmath.observability import request_id, tracing
from deepmath.observability.rpc_metrics import RpcMetrics
from deepmath.rpc.handler_wrapping import wrap_handler

log = logging.getLogger(__name__)

_TRACED = "deepmath."  # health checks and reflection get no spans


class CallInterceptor(grpc.aio.ServerInterceptor):
    """The outermost interceptor, so that it observes the calls that others reject. Counts nothing without `metrics`."""

    def __init__(self, metrics: RpcMetrics | None = None) -> None:
        self._metrics = metrics

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler of a call."""
        handler = await continuation(handler_call_details)
        if handler is None:
            if self._metrics:
                self._metrics.record_call(None, "unimplemented", 0.0)
            return None
        method = handler_call_details.method.removeprefix("/")
        return wrap_handler(handler, lambda context: self._observe(method, context))

    @asynccontextmanager
    async def _observe(self, method: str, context: Any) -> AsyncIterator[None]:
        """Surround a call. grpc.aio runs each call in its own task: context variables set here belong to the call."""
        start = time.monotonic()
        metadata = tuple(context.invocation_metadata() or ())
        request = request_id.adopt(metadata)
        context.set_trailing_metadata(((request_id.KEY, request),))
        status = "cancelled"  # only a cancellation ends a handler without setting a status
        try:
            with _server_span(method, metadata, request) as span:
                try:
                    yield
                    status = _status_name(context.code())
                except Exception:
                    status = _status_name(context.code() or grpc.StatusCode.UNKNOWN)
                    raise
                finally:
                    span.set(status=status)
        finally:
            seconds = time.monotonic() - start
            if self._metrics:
                self._metrics.record_call(method, status, seconds)
            log.info("%s: %s after %.3f s", method, status, seconds)


@contextmanager
def _server_span(method: str, metadata: tuple[tuple[str, Any], ...], request: str) -> Iterator[tracing.Span]:
    if not method.startswith(_TRACED):
        yield tracing.NO_SPAN
        return
    parent = str(dict(metadata).get(tracing.KEY, ""))
    with tracing.task_span(method, kind="server", parent=parent, request_id=request) as span:
        yield span


def _status_name(code: grpc.StatusCode | None) -> str:
    return (code or grpc.StatusCode.OK).name.lower()

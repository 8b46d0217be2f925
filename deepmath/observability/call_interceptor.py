"""What is seen of every call that a server takes: its request id, its count and time, its span."""

from __future__ import annotations  # grpc's classes are generic in their stubs only

import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from deepmath.observability import request_id, tracing
from deepmath.observability.prometheus_metrics import PrometheusMetrics
from deepmath.rpc.handler_wrapping import with_block

log = logging.getLogger(__name__)

_OURS = "deepmath."  # health checks and reflection make no spans


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Goes before all others, so that what they refuse is seen too. Without `metrics` nothing is counted."""

    def __init__(self, metrics: PrometheusMetrics | None = None) -> None:
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
                self._metrics.called(None, "unimplemented", 0.0)
            return None
        name = handler_call_details.method.removeprefix("/")
        return with_block(handler, lambda context: self._seen(name, context))

    @contextmanager
    def _seen(self, name: str, context: Any) -> Iterator[None]:
        """Surround a call. What is set here holds for the task that grpc has made for it."""
        start = time.monotonic()
        metadata = tuple(context.invocation_metadata() or ())
        request = request_id.begin(metadata)
        context.set_trailing_metadata(((request_id.KEY, request),))
        status = "cancelled"  # nothing else ends a handler without a status of its own
        try:
            with _span(name, metadata, request) as span:
                try:
                    yield
                    status = _name(context.code())
                except Exception:
                    status = _name(context.code() or grpc.StatusCode.UNKNOWN)
                    raise
                finally:
                    span.set(status=status)
        finally:
            seconds = time.monotonic() - start
            if self._metrics:
                self._metrics.called(name, status, seconds)
            log.info("%s: %s after %.3f s", name, status, seconds)


@contextmanager
def _span(name: str, metadata: tuple[tuple[str, Any], ...], request: str) -> Iterator[tracing.Span]:
    if not name.startswith(_OURS):
        yield tracing.NOTHING
        return
    parent = str(dict(metadata).get(tracing.KEY, ""))
    with tracing.task_span(name, kind="server", parent=parent, request_id=request) as span:
        yield span


def _name(code: grpc.StatusCode | None) -> str:
    return (code or grpc.StatusCode.OK).name.lower()

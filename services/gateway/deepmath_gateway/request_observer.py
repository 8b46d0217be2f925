"""Request id, span, metrics and log line of each request."""

import logging
import time
from collections.abc import Callable
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deepmath.errors import Overloaded
from deepmath.observability import request_id, tracing
from deepmath_gateway.http_protocol import HttpProtocol
from deepmath_gateway.metrics import GatewayMetrics
from deepmath_gateway.protocol_errors import HttpRefusal

log = logging.getLogger(__name__)

_UNKNOWN = "unknown"  # the protocol of a path that does not exist


class RequestObserver:
    """The outermost ASGI middleware, so that it observes the requests that others refuse.

    The id is that of the header `x-request-id`, or a new one. The response has it too, and it goes to the other
    services with the span, whose parent is that of `traceparent`. No path is logged: it may hold a session's id.
    """

    def __init__(self, app: ASGIApp, *, metrics: GatewayMetrics, find: Callable[[Scope], HttpProtocol | None]) -> None:
        self._app, self._metrics, self._find = app, metrics, find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Observe a request and pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request = request_id.adopt([(request_id.KEY, headers.get(request_id.KEY, ""))])
        protocol = self._find(scope)
        name = protocol.name if protocol else _UNKNOWN
        start, status = time.monotonic(), None

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[request_id.KEY] = request
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        self._metrics.in_flight += 1
        parent = headers.get(tracing.KEY, "")
        try:
            with tracing.task_span(f"http {name}", kind="server", parent=parent, request_id=request) as span:
                try:
                    await self._app(scope, receive, observed)
                finally:
                    span.set(status=status or 0)
        finally:
            self._metrics.in_flight -= 1
            seconds = time.monotonic() - start
            self._metrics.record_request(name, status, seconds)
            log.info("%s: %s after %.3f s", name, status or "cancelled", seconds)


class RequestLimit:
    """ASGI middleware that refuses requests while `most` are in flight, and heads of more than `head_bytes`.

    h11 limits a head only while it is incomplete, and the first read of a connection may be longer.
    """

    def __init__(self, app: ASGIApp, *, metrics: GatewayMetrics, most: int, head_bytes: int) -> None:
        self._app, self._metrics = app, metrics
        self._most, self._head_bytes = most, head_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if there is room."""
        if scope["type"] != "lifespan":
            if self._metrics.in_flight > self._most:
                raise Overloaded(f"{self._most} requests are in flight, the most that this gateway takes")
            if _head_bytes(scope) > self._head_bytes:
                raise HttpRefusal(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"path and headers exceed {self._head_bytes} bytes"
                )
        await self._app(scope, receive, send)


def _head_bytes(scope: Scope) -> int:
    headers = sum(len(name) + len(value) + 4 for name, value in scope["headers"])  # a colon, a space and the line's end
    return headers + len(scope.get("raw_path") or b"") + len(scope["query_string"])

"""The response to a request that failed, in the form of its protocol."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deepmath.errors import DeepMathError, Unavailable
from deepmath.observability import request_id
from deepmath_gateway.body_limit import has_body
from deepmath_gateway.http_protocol import HttpProtocol
from deepmath_gateway.protocol_errors import ClientGone, HttpFailure, detail_form

log = logging.getLogger(__name__)

ABORT = "abort"
"""Key of the function that closes a connection at once, in its state."""

_DISCARDED_BYTES, _DISCARD_SECONDS = 64 << 10, 2.0


class ErrorResponses:
    """ASGI middleware that answers a request whose handling raised an error, unless its response has begun."""

    def __init__(self, app: ASGIApp, *, find: Callable[[Scope], HttpProtocol | None]) -> None:
        self._app, self._find = app, find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and answer it if that fails."""
        started = unread = False

        async def tracked(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        async def received() -> Message:
            nonlocal unread
            message = await receive()
            unread = message.get("more_body", False)
            return message

        if scope["type"] == "http":
            unread = has_body(Headers(scope=scope))
        try:
            await self._app(scope, received, tracked)
        except (Exception, asyncio.CancelledError) as error:
            if scope["type"] == "lifespan":
                raise
            failure = _failure(error)
            if started or isinstance(error, ClientGone):
                await _abort(scope)
            else:
                if unread and failure.status is not HTTPStatus.REQUEST_TIMEOUT:
                    unread = not await _discard_body(scope, receive)
                await self._respond(failure, unread, scope, receive, send)

    async def _respond(self, failure: HttpFailure, unread: bool, scope: Scope, receive: Receive, send: Send) -> None:
        protocol = self._find(scope)
        response = (protocol.error_form if protocol else detail_form)(failure)
        for name, value in failure.headers.items():
            response.headers.setdefault(name, value)
        if unread:
            response.headers["connection"] = "close"  # or the client could send the rest without end
        if scope["type"] == "websocket":
            await receive()  # the client's request to connect
        await response(scope, receive, send)


async def _discard_body(scope: Scope, receive: Receive) -> bool:
    """Receive what is left of a short body, and return whether that was all.

    A connection that is closed on a client that still sends takes the response with it.
    """
    headers = Headers(scope=scope)
    if "expect" in headers:  # the client waits for a response before it sends the body
        return False
    if int(headers.get("content-length", "0")) > _DISCARDED_BYTES:
        return False
    left = _DISCARDED_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return True
    return False


async def _abort(scope: Scope) -> None:
    """Close the connection, whose client would take what it has got for the whole response."""
    if abort := scope.get("state", {}).get(ABORT):
        abort()
    await asyncio.sleep(0)  # the server sees the end of the connection before that of the request


def _failure(error: BaseException) -> HttpFailure:
    if isinstance(error, ClientGone):
        log.info("%s", error)
    if isinstance(error, asyncio.CancelledError):
        error = Unavailable("the gateway is shutting down")
    if isinstance(error, DeepMathError):
        return HttpFailure.of(error)
    log.error("unhandled exception in a request", exc_info=error)
    return HttpFailure(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        f"internal error; the gateway's log has the traceback under request id {request_id.current.get()}",
    )

"""Limits of request bodies: media type, size, time to arrive, and the memory of all that are arriving."""

import asyncio
import re
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deepmath.access.caller_identity import proven_name
from deepmath.serving.request_gate import CallerPlaces
from deepmath_gateway.json_text import check_json_text
from deepmath_gateway.protocol_errors import ClientGone, HttpRefusal

_JSON = re.compile(r"application/([a-z0-9.-]+\+)?json", re.ASCII | re.IGNORECASE)
_FREE_BYTES = 64 << 10  # uvicorn holds as much of each connection in any case


class BodyLimit:
    """ASGI middleware that receives a request's whole body, within limits, before the application starts.

    The application gets it as one message. Every protocol here has JSON bodies; others are refused unread.

    Args:
        app: The application.
        body_bytes: Size limit of a body.
        unread_bytes: Memory for long bodies that are being received; half of it for one client's at most.
        seconds: Time for a body to arrive.
    """

    def __init__(self, app: ASGIApp, *, body_bytes: int, unread_bytes: int, seconds: float) -> None:
        self._app = app
        self._limit = body_bytes
        self._seconds = seconds
        self._places = CallerPlaces(max(1, unread_bytes // body_bytes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Receive the body of a request and pass the request on."""
        if scope["type"] == "http" and has_body(headers := Headers(scope=scope)):
            self._check_head(headers)
            receive = _after(await self._receive_in_time(scope, receive), receive)
        await self._app(scope, receive, send)

    def _check_head(self, headers: Headers) -> None:
        media_type = headers.get("content-type", "").partition(";")[0].strip()
        if not _JSON.fullmatch(media_type):
            given = f"the body's content-type is {media_type[:100]!r}" if media_type else "the body has no content-type"
            raise HttpRefusal(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{given}; send application/json (files cannot be uploaded)"
            )
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise HttpRefusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body without a content-encoding")
        if int(headers.get("content-length", "0")) > self._limit:  # h11 has checked it: at most 20 digits
            raise self._too_large()

    async def _receive_in_time(self, scope: Scope, receive: Receive) -> bytes:
        caller = proven_name() or str((scope.get("client") or ("",))[0])
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._receive(caller, receive)
        except TimeoutError:
            raise HttpRefusal(
                HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {self._seconds:g} s"
            ) from None
        check_json_text(text := bytes(body))
        return text

    async def _receive(self, caller: str, receive: Receive) -> bytearray:
        body = bytearray()
        more = await _append_until(body, _FREE_BYTES, receive)
        if more:
            async with self._places.take(caller):
                more = await _append_until(body, self._limit, receive)
        if more or len(body) > self._limit:
            raise self._too_large()
        return body

    def _too_large(self) -> HttpRefusal:
        return HttpRefusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body exceeds {self._limit} bytes, the limit of this gateway"
        )


def has_body(headers: Headers) -> bool:
    """Whether a request has a body."""
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


async def _append_until(body: bytearray, limit: int, receive: Receive) -> bool:
    """Append what arrives to `body` until it exceeds `limit`; return whether more is to come.

    Raises:
        ClientGone: The client has disconnected.
    """
    more = True
    while more and len(body) <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the client disconnected while it sent the body")
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return more


def _after(body: bytes, receive: Receive) -> Receive:
    """Return a function that returns `body`, and then what `receive` returns."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> Message:
        return left.pop() if left else await receive()

    return received

"""Protection against web pages that call the gateway from their reader's browser.

Cross-origin requests with a JSON body need CORS, which is off by default. Two ways round it remain. A page may let its
own host name resolve to 127.0.0.1 (DNS rebinding): then its requests are of one origin, and name that host. And CORS
does not cover WebSockets.
"""

from collections.abc import Collection
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from deepmath.errors import Forbidden
from deepmath_gateway.protocol_errors import HttpRefusal

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class BrowserGuard:
    """ASGI middleware that refuses other hosts' names if the gateway serves `loopback_only`, and pages' WebSockets.

    Pages of `origins` may open WebSockets.
    """

    def __init__(self, app: ASGIApp, *, loopback_only: bool, origins: Collection[str]) -> None:
        self._app = app
        self._loopback_only, self._origins = loopback_only, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request and pass it on."""
        if scope["type"] != "lifespan":
            headers = Headers(scope=scope)
            if self._loopback_only and not _is_loopback(headers.get("host", "")):
                raise HttpRefusal(
                    HTTPStatus.MISDIRECTED_REQUEST,
                    "the Host header names another host; the gateway serves this machine only: call it as localhost",
                )
            origin = headers.get("origin")
            if scope["type"] == "websocket" and origin and origin not in self._origins:
                raise Forbidden("pages of this origin may not open WebSockets here; see --cors-origin")
        await self._app(scope, receive, send)


def _is_loopback(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").hostname in _LOOPBACK
    except ValueError:
        return False

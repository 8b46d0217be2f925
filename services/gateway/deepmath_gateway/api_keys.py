"""API keys: the tokens of the tokens file, as the clients of the protocols send them."""

import base64
import binascii
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from deepmath.access.caller_identity import set_proven_name
from deepmath.access.client_registry import AdmittedClient, ClientRegistry
from deepmath.access.tokens import SCOPES
from deepmath.errors import Unauthenticated
from deepmath_gateway.http_protocol import HttpProtocol

_KEY_HEADERS = (
    "x-api-key",  # E2B and others
    "api-key",  # Azure's OpenAI client
    "x-access-token",  # E2B, to a sandbox
    "e2b-traffic-access-token",  # E2B, to the contexts of a sandbox
)
PEER_NAME = "peer_name"
"""Key of the name in the client's certificate, in the state of a connection."""
CLIENT = "client"
"""Key of the `AdmittedClient`, in the state of a request."""


class ApiKeyAccess:
    """ASGI middleware that authenticates and authorizes each request before its body is read.

    With a `tokens` file, its clients may call within their scopes and limits. Without one, every caller may: TLS has
    verified their certificates, or the gateway serves this machine only.

    Raises:
        InvalidRequest: The tokens file is unusable.
    """

    def __init__(self, app: ASGIApp, *, tokens: Path | None, find: Callable[[Scope], HttpProtocol | None]) -> None:
        self._app, self._find = app, find
        self._registry = ClientRegistry(tokens) if tokens else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit a request and pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        if self._registry is None:
            client = AdmittedClient(state.get(PEER_NAME, ""), frozenset(SCOPES))
            call: AbstractContextManager[None] = nullcontext()
        else:
            client = self._registry.authenticate(api_key(Headers(scope=scope)))
            protocol = self._find(scope)
            # An unknown path is refused by the router. A client learns that only with a valid key.
            call = self._registry.call(client, protocol.scopes if protocol else SCOPES, scope["path"])
        state[CLIENT] = client
        set_proven_name(client.name)
        with call:
            await self._app(scope, receive, send)


def api_key(headers: Headers) -> str:
    """Return the key of a request: a bearer token, X-API-Key, or the password of a URL such as http://:KEY@HOST.

    Raises:
        Unauthenticated: There is none.
    """
    key = presented_key(headers)
    if not key:
        raise Unauthenticated(
            "missing API key: send `Authorization: Bearer KEY` or `X-API-Key: KEY`; the gateway's operator has the key"
        )
    return key


def presented_key(headers: Headers) -> str:
    """Return the key of a request as `api_key` does; empty if there is none."""
    for name in _KEY_HEADERS:
        if key := headers.get(name):
            return key
    kind, _, value = headers.get("authorization", "").partition(" ")
    key = value.strip()
    if kind.lower() == "basic":
        return _password(key)
    return key if kind.lower() == "bearer" else ""


def _password(encoded: str) -> str:
    """Return the password of HTTP basic authentication, or the user's name if it is empty."""
    try:
        name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return password or name

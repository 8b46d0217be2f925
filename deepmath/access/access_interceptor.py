"""Server interceptor that authenticates and authorizes each call before its handler runs."""

from __future__ import annotations  # grpc's classes are generic in their stubs only

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from deepmath.access.caller_identity import name_in_certificate, set_proven_name
from deepmath.access.client_registry import ClientRegistry
from deepmath.access.scopes import HEALTH, scopes_for, service_of
from deepmath.errors import Unauthenticated
from deepmath.rpc.handler_wrapping import wrap_handler

AUTHORIZATION = "authorization"
BEARER = "Bearer "


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Admits permitted calls and records their caller's name.

    With a `tokens` file, its clients may call within their scopes and limits. Without one, every caller may: TLS has
    verified their certificates. The health service is open to all.

    Raises:
        InvalidRequest: The tokens file is unusable.
    """

    def __init__(self, tokens: Path | None) -> None:
        self._registry = ClientRegistry(tokens) if tokens else None

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler of a call."""
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or service_of(method) == HEALTH:
            return handler
        return wrap_handler(handler, lambda context: self._admit(method, context))

    @asynccontextmanager
    async def _admit(self, method: str, context: Any) -> AsyncIterator[None]:
        if self._registry is None:
            set_proven_name(name_in_certificate(context.auth_context()))
            yield
            return
        client = self._registry.authenticate(_bearer_token(context))
        set_proven_name(client.name)
        with self._registry.call(client, scopes_for(method), method.rpartition("/")[2]):
            yield


def _bearer_token(context: Any) -> str:
    value = dict(context.invocation_metadata()).get(AUTHORIZATION, "")
    if not isinstance(value, str) or not value.startswith(BEARER):
        raise Unauthenticated(
            "missing token: set DEEPMATH_TOKEN_FILE to the file with your token (for a service: --token-file)"
        )
    return value.removeprefix(BEARER)

"""Who calls, and whether they may: asked before each call, before anything of it is done."""

from __future__ import annotations  # grpc's classes are generic in their stubs only

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from deepmath.access.caller_identity import name_in_certificate, set_proven_name
from deepmath.access.quota import Quota
from deepmath.access.scopes import HEALTH, scopes_for, service_of
from deepmath.access.tokens import Clients, client_of, watch_clients
from deepmath.errors import Forbidden, Unauthenticated
from deepmath.rpc.handler_wrapping import with_block

AUTHORIZATION = "authorization"
BEARER = "Bearer "


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Lets calls through that may be made, and tells them who makes them.

    With a file of `tokens` those are the calls of its clients, each within its scopes and limits; without one, all that
    come so far: TLS has let in their certificates. Health is for everybody.

    Raises:
        InvalidRequest: the file of tokens cannot be used.
    """

    def __init__(self, tokens: Path | None) -> None:
        self._clients = watch_clients(tokens) if tokens else None
        self._quotas: dict[str, Quota] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Put the question before the method of a call."""
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or service_of(method) == HEALTH:
            return handler
        return with_block(handler, lambda context: self._admitted(method, context))

    @contextmanager
    def _admitted(self, method: str, context: Any) -> Iterator[None]:
        if self._clients is None:
            set_proven_name(name_in_certificate(context.auth_context()))
            yield
            return
        clients = self._clients.value
        name = _known(_token_of(context), clients)
        set_proven_name(name)
        needed = scopes_for(method)
        if not clients[name].scopes.intersection(needed):
            raise Forbidden(
                f"{name} may not call {method.rpartition('/')[2]}: its token has not the scope "
                f"{' or '.join(needed) or 'that this would need'}; ask whoever runs the service for it"
            )
        self._forget_all_but(clients)
        with self._quotas.setdefault(name, Quota(name)).call(clients[name]):
            yield

    def _forget_all_but(self, clients: Clients) -> None:
        for name in self._quotas.keys() - clients.keys():
            del self._quotas[name]


def _token_of(context: Any) -> str:
    value = dict(context.invocation_metadata()).get(AUTHORIZATION, "")
    if not isinstance(value, str) or not value.startswith(BEARER):
        raise Unauthenticated(
            "this service asks for a token: set DEEPMATH_TOKEN_FILE to the file with yours (a service: --token-file)"
        )
    return value.removeprefix(BEARER)


def _known(token: str, clients: Clients) -> str:
    name = client_of(token, clients)
    if name is None:
        raise Unauthenticated("this service does not know the token, or knows it no more; ask whoever runs it for one")
    return name

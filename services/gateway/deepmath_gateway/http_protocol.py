"""A protocol that the gateway serves: its routes, the scopes that they need, and the form of its errors."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field

from fastapi import APIRouter
from starlette.routing import Match
from starlette.types import Scope

from deepmath.access.tokens import Scope as TokenScope
from deepmath_gateway.protocol_errors import ErrorForm, detail_form


@dataclass(frozen=True)
class HttpProtocol:
    """The part of the gateway that speaks one protocol."""

    name: str
    """Label of the metrics."""
    scopes: Sequence[TokenScope]
    """A client needs one of them. The routes may demand more of it."""
    router: APIRouter = field(default_factory=APIRouter)
    error_form: ErrorForm = detail_form
    lifespan: Callable[[], AbstractAsyncContextManager[object]] = nullcontext
    """Entered before the first request, left after the last one."""


_FOUND = "deepmath.protocol"  # key of the protocol in a request's scope


class ProtocolTable:
    """Finds the protocol of a request by the same matching that routes it, once for each request."""

    def __init__(self, protocols: Sequence[HttpProtocol]) -> None:
        self._routes = [(route, protocol) for protocol in protocols for route in protocol.router.routes]

    def find(self, scope: Scope) -> HttpProtocol | None:
        """Return the protocol that has the path of a request, whatever its method; None if there is none."""
        if _FOUND not in scope:
            matches = ((route.matches(scope)[0], protocol) for route, protocol in self._routes)
            scope[_FOUND] = next((protocol for match, protocol in matches if match is not Match.NONE), None)
        found: HttpProtocol | None = scope[_FOUND]
        return found

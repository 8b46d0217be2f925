"""The gateway's application: a router for each protocol whose backend is configured, behind shared middleware."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import NoReturn

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request

from deepmath.clients import ExecutorClient, GeneratorClient
from deepmath.errors import InvalidRequest
from deepmath.observability import request_id
from deepmath.rpc.addresses import is_local, is_unix_socket
from deepmath_gateway.api_keys import ApiKeyAccess
from deepmath_gateway.body_limit import BodyLimit
from deepmath_gateway.browser_guard import BrowserGuard
from deepmath_gateway.client_presence import ClientPresence
from deepmath_gateway.config import GatewayConfig
from deepmath_gateway.error_responses import ErrorResponses
from deepmath_gateway.executor_dialects import executor_dialects
from deepmath_gateway.health_checks import HealthChecks
from deepmath_gateway.http_protocol import HttpProtocol, ProtocolTable
from deepmath_gateway.mcp_transports import mcp_protocol
from deepmath_gateway.metrics import GatewayMetrics
from deepmath_gateway.openai.openai_protocol import openai_protocol
from deepmath_gateway.protocol_errors import HttpRefusal
from deepmath_gateway.request_observer import RequestLimit, RequestObserver
from deepmath_gateway.session_manager import SessionLimits, SessionManager

_MAX_LOCATION = 100  # characters: keys of an object are the client's choice


@dataclass
class Gateway:
    """The parts that the protocols share. A client is None if its service has no address."""

    config: GatewayConfig
    generator: GeneratorClient | None = None
    executor: ExecutorClient | None = None
    metrics: GatewayMetrics = field(default_factory=GatewayMetrics)


def protocols(gateway: Gateway) -> Iterator[HttpProtocol]:
    """Yield the protocols whose backends `gateway` has."""
    sessions = SessionManager(gateway.executor, _session_limits(gateway.config)) if gateway.executor else None
    if sessions is not None:
        gateway.metrics.watch_sessions(partial(len, sessions))
        yield from executor_dialects(sessions)
    if gateway.generator is not None:
        yield openai_protocol(gateway.generator)
    yield mcp_protocol(gateway.config, sessions, gateway.generator)


def _session_limits(config: GatewayConfig) -> SessionLimits:
    return SessionLimits(
        max_sessions=config.max_sessions,
        max_sessions_per_owner=config.max_sessions_per_client,
        idle_s=config.session_idle_seconds,
        lifetime_s=config.session_lifetime_seconds,
    )


def create_app(gateway: Gateway) -> FastAPI:
    """Return the application. Its lifespan is that of the protocols."""
    served = tuple(protocols(gateway))
    table = ProtocolTable(served)
    gateway.metrics.expect_requests((*(protocol.name for protocol in served), "unknown"))
    app = FastAPI(
        title="DeepMath gateway",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(served),
        middleware=_middleware(gateway, table),
        exception_handlers={HTTPException: _refuse, RequestValidationError: _reject},
    )
    for protocol in served:
        app.include_router(protocol.router)
    return app


def _middleware(gateway: Gateway, table: ProtocolTable) -> list[Middleware]:
    """Return the middleware, the outermost first."""
    config, metrics = gateway.config, gateway.metrics
    loopback_only = is_local(config.listen) and not is_unix_socket(config.listen) and not config.tokens
    cors = Middleware(
        CORSMiddleware,
        allow_origins=config.cors_origin,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=[request_id.KEY, "retry-after"],
    )
    return [
        Middleware(HealthChecks, metrics=metrics),
        Middleware(RequestObserver, metrics=metrics, find=table.find),
        *([cors] if config.cors_origin else []),
        Middleware(ErrorResponses, find=table.find),
        Middleware(RequestLimit, metrics=metrics, most=config.max_calls, head_bytes=config.max_header_bytes),
        Middleware(BrowserGuard, loopback_only=loopback_only, origins=config.cors_origin),
        Middleware(ApiKeyAccess, tokens=config.tokens, find=table.find),
        Middleware(
            BodyLimit,
            body_bytes=config.max_message_bytes,
            unread_bytes=config.max_unread_bytes,
            seconds=config.receive_seconds,
        ),
        Middleware(ClientPresence, send_seconds=config.send_seconds),
    ]


def _lifespan(served: tuple[HttpProtocol, ...]) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as block:
            for protocol in served:
                await block.enter_async_context(protocol.lifespan())
            yield

    return lifespan


async def _refuse(_: Request, error: Exception) -> NoReturn:
    """Raise the router's own refusal as ours, which the protocol's form of errors knows."""
    assert isinstance(error, HTTPException)
    raise HttpRefusal(HTTPStatus(error.status_code), str(error.detail)) from None


async def _reject(_: Request, error: Exception) -> NoReturn:
    """Raise the first mistake in a request, without the value that it quotes."""
    assert isinstance(error, RequestValidationError)
    mistake = error.errors()[0]
    where = ".".join(str(part) for part in mistake["loc"] if part != "body")[:_MAX_LOCATION]
    raise InvalidRequest(": ".join(filter(None, (where, str(mistake["msg"]))))) from None

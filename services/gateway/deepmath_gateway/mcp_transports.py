"""MCP over HTTP: the transports SSE (`/sse`, `/messages/`) and streamable HTTP (`/mcp`).

A sandbox has state, so its protocol has sessions: requests of the stateless revision of MCP (2026-07-28) are refused in
its own terms, upon which SDKs send the handshake of the earlier ones.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import APIRouter
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.context import CallNext, HandlerResult
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, UNSUPPORTED_PROTOCOL_VERSION
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from deepmath.clients import GeneratorClient
from deepmath.integrations.mcp.tool_calls import RequestContext
from deepmath.integrations.mcp.tool_server import ToolServer
from deepmath_gateway.config import GatewayConfig
from deepmath_gateway.http_protocol import HttpProtocol
from deepmath_gateway.mcp_backend import McpBackend, client_of
from deepmath_gateway.protocol_errors import HttpFailure
from deepmath_gateway.session_manager import SessionManager

logging.getLogger("mcp").setLevel(logging.ERROR)  # its other lines have session ids, and what clients send
_GONE = "gone"  # key of the event in the state of a request
_VERSION_HEADER = "mcp-protocol-version"


def mcp_protocol(
    config: GatewayConfig, sessions: SessionManager | None, generator: GeneratorClient | None
) -> HttpProtocol:
    """Return the protocol with the tools of the services that there are."""
    backend = McpBackend(sessions, generator)
    tools = ToolServer(backend, lifespan=backend.connection)
    tools.server.middleware.append(_end_with_client)
    limit = config.max_message_bytes
    streamable = StreamableHTTPSessionManager(
        tools.server, max_request_body_size=limit, session_idle_timeout=config.session_idle_seconds
    )
    sse = SseServerTransport("/messages/", max_request_body_size=limit)
    api = APIRouter()
    api.routes += [
        Route("/sse", _SseStream(sse, tools), methods=["GET"]),
        Route("/messages/", _SseMessages(sse), methods=["POST"]),
        Route("/mcp", _StreamableHttp(streamable, backend), methods=["GET", "POST", "DELETE"]),
    ]
    return HttpProtocol("mcp", ("execute", "generate"), api, _error_form, lifespan=streamable.run)


class _SseStream:
    """The stream of a client over SSE. Its session and the calls in flight end with it."""

    def __init__(self, sse: SseServerTransport, tools: ToolServer) -> None:
        self._sse, self._server = sse, tools.server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _introduce(scope)
        async with self._sse.connect_sse(scope, receive, send) as (read, write):
            await self._server.run(read, write, self._server.create_initialization_options())


class _SseMessages:
    """Messages of a client over SSE, to which its stream has the answers."""

    def __init__(self, sse: SseServerTransport) -> None:
        self._sse = sse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _introduce(scope)
        await self._sse.handle_post_message(scope, receive, send)


class _StreamableHttp:
    """Streamable HTTP. A call ends with the connection that waits for its result, since there is no resumption."""

    def __init__(self, manager: StreamableHTTPSessionManager, backend: McpBackend) -> None:
        self._manager, self._backend = manager, backend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        version = request.headers.get(_VERSION_HEADER)
        if version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS:
            await _unsupported(version)(scope, receive, send)
            return
        _introduce(scope)
        with _presence(scope):
            await self._manager.handle_request(scope, receive, send)
        if scope["method"] == "DELETE":
            await self._backend.end_connection(request)


def _introduce(scope: Scope) -> None:
    """Let the SDK know the client, for which a session of another one does not exist."""
    scope["user"] = AuthenticatedUser(AccessToken(token="", client_id=client_of(Request(scope)).name, scopes=[]))


@contextmanager
def _presence(scope: Scope) -> Iterator[None]:
    """Set an event in the state of a request when its client goes away."""
    gone = scope["state"][_GONE] = asyncio.Event()
    try:
        yield
    except asyncio.CancelledError:
        gone.set()
        raise


async def _end_with_client(ctx: RequestContext, call_next: CallNext) -> HandlerResult:
    """MCP middleware that cancels a call when its client goes away."""
    gone = ctx.request.scope["state"].get(_GONE) if ctx.request else None
    if gone is None:
        return await call_next(ctx)
    call = asyncio.ensure_future(call_next(ctx))
    watch = asyncio.create_task(gone.wait())
    try:
        await asyncio.wait((call, watch), return_when=asyncio.FIRST_COMPLETED)
        if not call.done():
            raise MCPError(INTERNAL_ERROR, "the client has gone away")
        return call.result()
    finally:
        for task in (call, watch):
            task.cancel()
        await asyncio.gather(call, watch, return_exceptions=True)


def _unsupported(version: str) -> Response:
    data = {"supported": list(HANDSHAKE_PROTOCOL_VERSIONS), "requested": version[:100]}
    message = "sessions need the handshake of an earlier protocol version: send initialize"
    return JSONResponse(_rpc_error(UNSUPPORTED_PROTOCOL_VERSION, message, data), 400)


def _error_form(failure: HttpFailure) -> Response:
    """Return the response for a failure, as an error of JSON-RPC."""
    return JSONResponse(_rpc_error(INTERNAL_ERROR, failure.message), failure.status)


def _rpc_error(code: int, message: str, data: object = None) -> dict[str, object]:
    error = {"code": code, "message": message} | ({"data": data} if data else {})
    return {"jsonrpc": "2.0", "id": None, "error": error}

"""The services behind the MCP tools, for each client of the gateway by its scopes and sessions."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from typing import Any, cast
from weakref import WeakSet

from starlette.requests import Request

from deepmath.access.client_registry import AdmittedClient
from deepmath.clients import GeneratorClient
from deepmath.errors import Unavailable
from deepmath.executor.v1 import executor_pb2
from deepmath.generator.v1 import generator_pb2
from deepmath.integrations.mcp.tool_calls import CLEANUP, PYTHON, SOLVE, RequestContext, SolveArguments
from deepmath_gateway.api_keys import CLIENT
from deepmath_gateway.owned_session import OwnedSession, SnippetCall, UnknownSession
from deepmath_gateway.session_manager import SessionManager

SESSION_HEADER = "x-session-id"
TRANSPORT_HEADER, TRANSPORT_PARAMETER = "mcp-session-id", "session_id"  # of streamable HTTP, and of SSE
_NAMED, _UNNAMED = "mcp", "mcp connection"  # namespaces of ids that clients choose, and of those of connections
_DEADLINE_S = 300.0  # for the queue, replays and the run, whose limits are the executors' default


class McpBackend:
    """Runs the tools' work on executors and generator. Each may be missing, and its tools with it."""

    def __init__(self, sessions: SessionManager | None, generator: GeneratorClient | None) -> None:
        self._sessions, self._generator = sessions, generator

    async def offered(self, context: RequestContext) -> Collection[str]:
        """Return the tools that the client's scopes permit."""
        scopes = client_of(context.request).scopes
        python = [PYTHON, CLEANUP] if self._sessions is not None and "execute" in scopes else []
        return [*python, SOLVE] if self._generator is not None and "generate" in scopes else python

    async def run_python(self, context: RequestContext, code: str) -> executor_pb2.SnippetResult:
        """Run code in the session of the header `x-session-id`, or else of the MCP connection."""
        session = await self._find_or_open(context)
        return await session.run(SnippetCall(code, executor_pb2.Limits(), _DEADLINE_S))

    async def end_session(self, context: RequestContext) -> None:
        """End that session, if there is one."""
        await self._end(client_of(context.request).name, *_id_of(context.request))

    def solve(self, _: RequestContext, arguments: SolveArguments) -> AsyncIterator[generator_pb2.SolveResponse]:
        """Solve a problem and yield its events."""
        assert self._generator is not None
        return arguments.solve_with(self._generator)

    async def end_connection(self, request: Request) -> None:
        """End the session of a connection that its client has ended."""
        await self._end(client_of(request).name, _UNNAMED, request.headers.get(TRANSPORT_HEADER, ""))

    @asynccontextmanager
    async def connection(self, _: object) -> AsyncIterator[WeakSet[OwnedSession]]:
        """Yield the set of sessions that end with a connection over SSE, or with all over streamable HTTP."""
        opened: WeakSet[OwnedSession] = WeakSet()
        try:
            yield opened
        finally:
            for session in list(opened):
                await self._end(*session.key)

    async def _end(self, owner: str, namespace: str, session_id: str) -> None:
        with suppress(UnknownSession):
            if self._sessions is not None:
                await self._sessions.close(self._sessions.find(owner, namespace, session_id))

    async def _find_or_open(self, context: RequestContext) -> OwnedSession:
        assert self._sessions is not None
        namespace, session_id = _id_of(context.request)
        session = await self._sessions.find_or_open(client_of(context.request).name, namespace, session_id)
        if namespace is _UNNAMED:
            context.lifespan_context.add(session)
        return session


def client_of(request: Any) -> AdmittedClient:
    """Return the client that has sent a request."""
    return cast(AdmittedClient, request.scope["state"][CLIENT])


def _id_of(request: Any) -> tuple[str, str]:
    """Return the namespace and the id of the session of a request."""
    if named := request.headers.get(SESSION_HEADER):
        return _NAMED, named
    connection = request.headers.get(TRANSPORT_HEADER) or request.query_params.get(TRANSPORT_PARAMETER)
    if not connection:
        raise Unavailable("the request belongs to no MCP session; initialize one first")
    return _UNNAMED, connection

"""E2B's code interpreter: code in the contexts of a sandbox, whose events a client reads as lines of JSON.

Each context is a session; the sandbox's own session is its default context. Shapes:
github.com/e2b-dev/code-interpreter, template/server.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from deepmath.access.caller_identity import proven_name
from deepmath.clients import OutputHandler
from deepmath.errors import InvalidRequest
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath_gateway.event_stream import EventStream
from deepmath_gateway.owned_session import OwnedSession, SnippetCall, UnknownSession
from deepmath_gateway.permitted_limits import PermittedLimits
from deepmath_gateway.protocol_errors import HttpFailure, HttpRefusal
from deepmath_gateway.session_manager import SessionManager
from deepmath_gateway.snippet_report import figures, notes, snippet_error

PROTOCOL = "e2b"
HOME = "/home/user"
_DEBUG_SANDBOX = "debug_sandbox_id"
_EXTRA_S = 60.0  # for the queue: the client waits for 300 s
_QUOTES = ("'", '"')

SandboxId = Annotated[str, Header(alias="E2b-Sandbox-Id")]


class ExecutionRequest(BaseModel):
    """Code to run."""

    code: str
    context_id: str | None = None
    language: str | None = None
    env_vars: Mapping[str, str] | None = None


class CreateContext(BaseModel):
    """A context to create."""

    cwd: str | None = None
    language: str | None = None


class E2bSandboxes:
    """The sandboxes of all clients and their contexts."""

    def __init__(self, sessions: SessionManager, permitted: PermittedLimits) -> None:
        self.sessions, self._permitted = sessions, permitted

    async def find(self, sandbox_id: str) -> OwnedSession:
        """Return a sandbox of the caller. The SDK's debug mode creates none: it has one of a fixed id.

        Raises:
            UnknownSession: The caller has none of this id.
        """
        if sandbox_id in ("", _DEBUG_SANDBOX):
            return await self.sessions.find_or_open(proven_name(), PROTOCOL, _DEBUG_SANDBOX)
        return self.sessions.find(proven_name(), PROTOCOL, sandbox_id)

    def contexts(self, sandbox: OwnedSession) -> list[OwnedSession]:
        """Return the contexts that were created in a sandbox."""
        return self.sessions.owned(sandbox.key.owner, _contexts_of(sandbox))

    def create_context(self, sandbox: OwnedSession) -> OwnedSession:
        """Return a new context, which lives as long as its sandbox."""
        context = self.sessions.open(sandbox.key.owner, _contexts_of(sandbox), may_idle=True)
        context.live_for(sandbox.seconds_left)
        return context

    def find_context(self, sandbox: OwnedSession, context_id: str | None) -> OwnedSession:
        """Return a context of a sandbox, by default its own.

        Raises:
            HttpRefusal: The sandbox has none of this id.
        """
        if context_id in (None, "", sandbox.key.session_id):
            return sandbox
        try:
            return self.sessions.find(sandbox.key.owner, _contexts_of(sandbox), context_id or "")
        except UnknownSession:
            raise HttpRefusal(HTTPStatus.NOT_FOUND, "the sandbox has no such context") from None

    def live_for(self, sandbox: OwnedSession, seconds: float) -> None:
        """Let a sandbox and its contexts end `seconds` from now, or a whole lifetime if that is less."""
        seconds = min(seconds, self.sessions.limits.lifetime_s)
        for session in (sandbox, *self.contexts(sandbox)):
            session.live_for(seconds)

    async def kill(self, sandbox: OwnedSession) -> None:
        """End a sandbox and its contexts."""
        for session in (sandbox, *self.contexts(sandbox)):
            await self.sessions.close(session)

    async def run(self, session: OwnedSession, code: str, on_output: OutputHandler | None = None) -> pb.SnippetResult:
        """Run code within the executors' maximum limits."""
        limits = await self._permitted.fit()
        deadline_s = limits.wall_ms / 1000 + _EXTRA_S
        return await session.run(SnippetCall(code, limits, deadline_s, on_output=on_output))


def router(sandboxes: E2bSandboxes) -> APIRouter:
    """Return the routes of a sandbox's contexts."""
    api = APIRouter()

    @api.post("/contexts")
    async def create_context(request: CreateContext, sandbox_id: SandboxId = "") -> Any:
        check_language(request.language)
        if request.cwd not in (None, HOME):
            raise InvalidRequest("a sandbox has no files, so no working directory; leave out cwd")
        return _context_json(sandboxes.create_context(await sandboxes.find(sandbox_id)))

    @api.get("/contexts")
    async def list_contexts(sandbox_id: SandboxId = "") -> Any:
        sandbox = await sandboxes.find(sandbox_id)
        return [_context_json(context) for context in (sandbox, *sandboxes.contexts(sandbox))]

    @api.post("/contexts/{context_id}/restart")
    async def restart_context(context_id: str, sandbox_id: SandboxId = "") -> None:
        await sandboxes.find_context(await sandboxes.find(sandbox_id), context_id).restart()

    @api.delete("/contexts/{context_id}")
    async def remove_context(context_id: str, sandbox_id: SandboxId = "") -> None:
        sandbox = await sandboxes.find(sandbox_id)
        context = sandboxes.find_context(sandbox, context_id)
        if context is sandbox:
            await sandbox.restart()
        else:
            await sandboxes.sessions.close(context)

    return api


async def execute(sandboxes: E2bSandboxes, request: ExecutionRequest, sandbox_id: str) -> Response:
    """Run code in a context and return the response: one event a line, as they come.

    A failure after the first event, which is not the code's, breaks the response off.

    Raises:
        InvalidRequest: The request is for another language, or for what sandboxes do not have.
        UnknownSession: The caller has no such sandbox.
    """
    check_language(request.language)
    check_no_environment(request.env_vars)
    if request.language and request.context_id:
        raise InvalidRequest("Only one of context_id or language can be provided")
    session = sandboxes.find_context(await sandboxes.find(sandbox_id), request.context_id)
    return await EventStream.start(_lines(sandboxes, session, request.code), "application/x-ndjson")


def check_language(language: str | None) -> None:
    """Check that code is Python.

    Raises:
        InvalidRequest: It is not.
    """
    if language and language.strip().lower() != "python":
        raise InvalidRequest(f"this service runs Python only, not {language[:40]!r}")


def check_no_environment(variables: Mapping[str, str] | None) -> None:
    """Check that a request sets no environment variables.

    Raises:
        InvalidRequest: It does.
    """
    if variables:
        raise InvalidRequest("a sandbox has no environment variables; assign the values in the code")


def unknown_sandbox(sandbox_id: str) -> Response:
    """Return what the client takes for a sandbox that has ended."""
    body = {"sandboxId": sandbox_id, "message": "The sandbox was not found", "code": HTTPStatus.BAD_GATEWAY}
    return JSONResponse(body, HTTPStatus.BAD_GATEWAY)


def error_form(failure: HttpFailure) -> Response:
    """Return the response for a failure, in the form of E2B's API."""
    if isinstance(failure.error, UnknownSession):
        return unknown_sandbox("")
    return JSONResponse({"code": failure.status, "message": failure.message}, failure.status)


async def _lines(sandboxes: E2bSandboxes, session: OwnedSession, code: str) -> AsyncGenerator[bytes]:
    async for event in _events(sandboxes, session, code):
        yield f"{json.dumps(event)}\n".encode()  # ASCII only: the client splits lines at every separator of Unicode


async def _events(sandboxes: E2bSandboxes, session: OwnedSession, code: str) -> AsyncGenerator[Mapping[str, Any]]:
    pieces: asyncio.Queue[tuple[str, str] | None] = asyncio.Queue()  # at most what the executors keep of a snippet
    run = asyncio.create_task(sandboxes.run(session, code, lambda name, text: pieces.put_nowait((name, text))))
    run.add_done_callback(lambda _: pieces.put_nowait(None))
    try:
        piece = await pieces.get()
        if piece is None:
            await run  # raises before the first event
        number = session.snippets + (not run.done())  # a snippet that runs is not counted yet
        yield {"type": "number_of_executions", "execution_count": number}
        while piece is not None:
            yield _text_event(*piece)
            piece = await pieces.get()
        for event in _result_events(await run):
            yield event
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


def _text_event(name: str, text: str) -> Mapping[str, Any]:
    return {"type": name, "text": text, "timestamp": datetime.now(UTC).isoformat()}


def _result_events(result: pb.SnippetResult) -> Iterator[Mapping[str, Any]]:
    """Yield what a result adds to its output."""
    if lines := notes(result):
        yield _text_event("stderr", "".join(f"{line}\n" for line in lines))
    for figure in figures(result):
        yield _result_event({"text": figure["text/plain"], "png": figure["image/png"]}, is_main=False)
    if result.HasField("value"):
        yield _result_event({"text": _without_quotes(result.value)}, is_main=True)
    if error := snippet_error(result):
        yield {"type": "error", "name": error.name, "value": error.message, "traceback": error.traceback}
    yield {"type": "end_of_execution"}


def _result_event(formats: Mapping[str, str], is_main: bool) -> Mapping[str, Any]:
    return {"type": "result", **formats, "extra": {}, "is_main_result": is_main}


def _without_quotes(value: str) -> str:
    """Return the `repr` of a string without its quotes, as E2B's server does."""
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in _QUOTES
    return value[1:-1] if quoted else value


def _context_json(context: OwnedSession) -> Mapping[str, str]:
    return {"id": context.key.session_id, "language": "python", "cwd": HOME}


def _contexts_of(sandbox: OwnedSession) -> str:
    return f"{PROTOCOL} {sandbox.key.session_id}"

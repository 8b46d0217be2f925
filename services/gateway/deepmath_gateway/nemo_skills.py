"""NeMo-Skills' sandbox: cells of an IPython session, and programs, with an answer that the model reads.

As its client expects, 502 means that the sandbox is not reachable, whatever the reason, and a refusal is an answer with
the status `error`. `new_session_created` tells it to replay the cells of a session whose variables are gone. Shapes:
github.com/NVIDIA-NeMo/Skills, nemo_skills/code_execution/local_sandbox/local_sandbox_server.py.
"""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from deepmath.access.caller_identity import proven_name
from deepmath.errors import DeepMathError, InvalidRequest, Overloaded, Unavailable
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath_gateway.owned_session import OwnedSession, SnippetCall, UnknownSession
from deepmath_gateway.permitted_limits import PermittedLimits
from deepmath_gateway.protocol_errors import HttpFailure
from deepmath_gateway.session_manager import SessionManager
from deepmath_gateway.snippet_report import program_stderr, snippet_error, timed_out

PROTOCOL = "nemo-skills"
_EXTRA_S = 4.0  # for the queue: the client waits for 5 s more than the time limit
_CUT = "<output cut>"
_BYTES_PER_CHARACTER = 4
_PROGRAMS = ("python", "python3")


class ExecuteRequest(BaseModel):
    """A cell or a program to run."""

    generated_code: str
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    language: str = "ipython"
    std_input: str = ""
    max_output_characters: Annotated[int, Field(ge=0)] = 1000
    traceback_verbosity: str = "Plain"


class NemoSkillsSandbox:
    """Runs the requests of all clients."""

    def __init__(self, sessions: SessionManager, permitted: PermittedLimits) -> None:
        self.sessions, self._permitted = sessions, permitted

    async def execute(self, request: ExecuteRequest, session_id: str) -> Response:
        """Run a cell or a program, and return the answer."""
        try:
            answer = await self._answer(request, session_id)
        except DeepMathError as error:
            return error_form(HttpFailure.of(error))
        for name in ("stdout", "stderr"):
            if len(answer[name]) > request.max_output_characters:
                answer[name] = answer[name][: request.max_output_characters] + _CUT
        return JSONResponse(answer)

    async def delete(self, session_id: str) -> Response:
        """End a session."""
        try:
            await self.sessions.close(self.sessions.find(proven_name(), PROTOCOL, session_id))
        except UnknownSession:
            return JSONResponse({"error": f"IPython session {session_id[:200]} not found"}, HTTPStatus.NOT_FOUND)
        return JSONResponse({"message": f"IPython session {session_id} deleted successfully"})

    def listing(self) -> dict[str, Any]:
        """Return the caller's sessions."""
        listed = {
            session.key.session_id: {
                "backend": "ipython",
                "created": session.started,
                "last_used": session.used,
                "alive": True,
            }
            for session in self.sessions.owned(proven_name(), PROTOCOL)
        }
        return {"sessions": listed, "backend": "ipython"}

    async def _answer(self, request: ExecuteRequest, session_id: str) -> dict[str, Any]:
        if request.language == "ipython":
            if not session_id:
                raise InvalidRequest("X-Session-ID header required for ipython sessions")
            session = await self.sessions.find_or_open(proven_name(), PROTOCOL, session_id)
            return await self._run_cell(request, session)
        if request.language not in _PROGRAMS:
            raise InvalidRequest(f"this service runs Python only (ipython, python), not {request.language[:40]!r}")
        result = await self.sessions.run_once(await self._snippet(request))
        if timed_out(result):
            return _timeout(request, result)
        return {"process_status": "completed", "stdout": result.stdout, "stderr": program_stderr(result)}

    async def _run_cell(self, request: ExecuteRequest, session: OwnedSession) -> dict[str, Any]:
        snippet = await self._snippet(request)
        was_fresh = session.is_fresh
        result = await session.run(snippet)
        answer = _timeout(request, result) if timed_out(result) else _cell(request, result)
        return answer | {"new_session_created": was_fresh or result.state_lost}

    async def _snippet(self, request: ExecuteRequest) -> SnippetCall:
        output_bytes = _BYTES_PER_CHARACTER * (request.max_output_characters + 1) * 2  # of which the head is shown
        limits = await self._permitted.fit(request.timeout, output_bytes=output_bytes)
        return SnippetCall(request.generated_code, limits, limits.wall_ms / 1000 + _EXTRA_S, request.std_input)


def router(sandbox: NemoSkillsSandbox) -> APIRouter:
    """Return the routes of sessions."""
    api = APIRouter()

    @api.get("/sessions")
    async def list_sessions() -> Response:
        return JSONResponse(sandbox.listing())

    @api.delete("/sessions/{session_id}")
    async def delete_session(session_id: str) -> Response:
        return await sandbox.delete(session_id)

    return api


def error_form(failure: HttpFailure) -> Response:
    """Return the response for a failure. Clients read the body whatever the status, except with 502.

    Only what the code or its author can change is an answer; a client without a valid key fails.
    """
    body = {"error": failure.message}
    if isinstance(failure.error, InvalidRequest):
        body |= {"process_status": "error", "stdout": "", "stderr": f"{failure.message}\n"}
    status = failure.status
    if failure.error is None or isinstance(failure.error, Unavailable | Overloaded | UnknownSession):
        status = HTTPStatus.BAD_GATEWAY
    return JSONResponse(body, status, failure.headers)


def _timeout(request: ExecuteRequest, result: pb.SnippetResult) -> dict[str, Any]:
    stderr = f"{result.stderr}Execution timed out after {request.timeout} seconds\n"
    return {"process_status": "timeout", "stdout": result.stdout, "stderr": stderr}


def _cell(request: ExecuteRequest, result: pb.SnippetResult) -> dict[str, Any]:
    """Return the answer for a cell: IPython writes the value and the traceback to standard output."""
    stdout = result.stdout + (f"{result.value}\n" if result.HasField("value") else "")
    error = snippet_error(result)
    if error:
        is_brief = request.traceback_verbosity == "Minimal"
        stdout += f"{error.name}: {error.message}\n" if is_brief else error.traceback
    return {"process_status": "error" if error else "completed", "stdout": stdout, "stderr": result.stderr}

"""SandboxFusion's protocol: programs with standard input, and the cells of a notebook, each in a fresh sandbox.

As its clients expect, 504 is a request to retry later, and the status SandboxError means that the program is not to
blame. Shapes: github.com/bytedance/SandboxFusion, sandbox/server/sandbox_api.py.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError
from starlette.responses import JSONResponse, PlainTextResponse, Response

from deepmath.errors import InvalidRequest, Overloaded, Unavailable
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath_gateway.owned_session import SnippetCall, run_on
from deepmath_gateway.permitted_limits import PermittedLimits
from deepmath_gateway.protocol_errors import HttpFailure
from deepmath_gateway.session_manager import SessionManager
from deepmath_gateway.snippet_report import exit_status, figures, notes, program_stderr, snippet_error, timed_out

_EXTRA_S = 5.0  # for the queue; verl's client waits for 10 s more than the time limits
_MOST_CELLS = 128
_MOST_OUTPUT = 8 << 20  # bytes of all cells
_LEAST_OUTPUT = 1 << 10  # bytes of one cell's text
_MIB = 1 << 20


def _check_language(language: str) -> str:
    if language != "python":
        raise PydanticCustomError("language", "this service runs Python only; send language 'python'")
    return language


def _check_no_files(files: Any) -> Any:
    if files:
        raise PydanticCustomError(
            "files", "sandboxes here have no files; put the data into the code or stdin, and print the results"
        )
    return files


Language = Annotated[str, AfterValidator(_check_language)]
NoFiles = Annotated[Mapping[str, str | None], AfterValidator(_check_no_files)]
NoFileNames = Annotated[list[str], AfterValidator(_check_no_files)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RunCodeRequest(BaseModel):
    """A program to run."""

    code: str
    language: Language
    stdin: str | None = None
    run_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    compile_timeout: Seconds = 10.0
    memory_limit_mb: Annotated[int, Field(alias="memory_limit_MB")] = -1
    files: NoFiles = {}
    fetch_files: NoFileNames = []


class RunJupyterRequest(BaseModel):
    """The cells of a notebook to run."""

    cells: Annotated[list[str], Field(max_length=_MOST_CELLS)]
    cell_timeout: Seconds = 0.0
    total_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 45.0
    memory_limit_mb: Annotated[int, Field(alias="memory_limit_MB")] = -1
    kernel: Literal["python3"] = "python3"
    files: NoFiles = {}
    fetch_files: NoFileNames = []


def router(sessions: SessionManager, permitted: PermittedLimits) -> APIRouter:
    """Return the routes of the protocol."""
    api = APIRouter()

    @api.post("/run_code")
    async def run_code(request: RunCodeRequest) -> Response:
        limits = await permitted.fit(request.run_timeout, max(0, request.memory_limit_mb) * _MIB)
        deadline_s = limits.wall_ms / 1000 + request.compile_timeout + _EXTRA_S
        result = await sessions.run_once(SnippetCall(request.code, limits, deadline_s, request.stdin or ""))
        run_result = _run_result(result)
        status = "Success" if run_result["return_code"] == 0 else "Failed"
        return _response(status, compile_result=None, run_result=run_result)

    @api.post("/run_jupyter")
    async def run_jupyter(request: RunJupyterRequest) -> Response:
        notebook = _Notebook(request, permitted)
        await notebook.run(sessions)
        return _response(notebook.status, driver=notebook.driver, cells=notebook.cells)

    @api.get("/v1/ping")
    async def ping() -> Response:
        return PlainTextResponse("pong")

    return api


def error_form(failure: HttpFailure) -> Response:
    """Return the response for a failure, in the form of this protocol's server."""
    if isinstance(failure.error, Unavailable) or failure.error is None:
        return _response("SandboxError", failure.message)
    if isinstance(failure.error, Overloaded):
        return JSONResponse({"detail": failure.message}, HTTPStatus.GATEWAY_TIMEOUT)
    if isinstance(failure.error, InvalidRequest):
        return JSONResponse({"detail": failure.message}, HTTPStatus.UNPROCESSABLE_ENTITY)
    return JSONResponse({"detail": failure.message}, failure.status)


class _Notebook:
    """Runs cells in one sandbox, within a total time and a total size of the outputs."""

    def __init__(self, request: RunJupyterRequest, permitted: PermittedLimits) -> None:
        self._request, self._permitted = request, permitted
        self.cells: list[dict[str, Any]] = []
        self.status = "Success"
        self._seconds = 0.0
        self._ended: pb.SnippetResult | None = None  # the result that ended the notebook early
        self._room = _MOST_OUTPUT

    @property
    def driver(self) -> dict[str, Any]:
        """The result of the program that ran the cells."""
        if self._ended is None:
            return _command_result("Finished", self._seconds, 0)
        result = _run_result(self._ended)
        return result | {"stdout": "", "execution_time": self._seconds}

    async def run(self, sessions: SessionManager) -> None:
        """Run the cells; an exception in one does not keep the next from running, as in SandboxFusion."""
        request = self._request
        async with sessions.executor.session() as session:
            for code in request.cells:
                left_s = request.total_timeout - self._seconds
                wall_s = min(request.cell_timeout or left_s, left_s)
                limits = await self._permitted.fit(
                    wall_s, max(0, request.memory_limit_mb) * _MIB, max(_LEAST_OUTPUT, self._room // 3)
                )
                result = await run_on(session, SnippetCall(code, limits, limits.wall_ms / 1000 + _EXTRA_S))
                self._seconds += result.usage.wall_ms / 1000
                self._add(result)
                if result.state_lost or (timed_out(result) and self._seconds >= request.total_timeout):
                    self._ended, self.status = result, "Failed"
                    return

    def _add(self, result: pb.SnippetResult) -> None:
        cell = _cell(result, self._room)
        self._room = max(0, self._room - _size(cell))
        self.cells.append(cell)


def _cell(result: pb.SnippetResult, room: int) -> dict[str, Any]:
    """Return a cell's result; figures beyond `room` bytes are left out, and counted in its standard error."""
    display: list[dict[str, str]] = []
    left_out = 0
    for figure in figures(result):
        room -= len(figure["image/png"])
        if room >= 0:
            display.append(figure)
        left_out += room < 0
    if result.HasField("value"):
        display.append({"text/plain": result.value})
    lines = [*notes(result), *([f"({left_out} figures were left out)"] if left_out else [])]
    error = snippet_error(result)
    return {
        "stdout": result.stdout,
        "stderr": result.stderr + "".join(f"{line}\n" for line in lines),
        "display": display,
        "error": [{"ename": error.name, "evalue": error.message, "traceback": error.traceback.splitlines()}]
        if error
        else [],
    }


def _size(cell: Mapping[str, Any]) -> int:
    texts = len(cell["stdout"]) + len(cell["stderr"])
    return texts + sum(len(value) for bundle in cell["display"] for value in bundle.values())


def _run_result(result: pb.SnippetResult) -> dict[str, Any]:
    """Return the result of a program."""
    status, code = ("TimeLimitExceeded", None) if timed_out(result) else ("Finished", exit_status(result))
    return _command_result(status, result.usage.wall_ms / 1000, code, result.stdout, program_stderr(result))


def _command_result(
    status: str, seconds: float, return_code: int | None, stdout: str = "", stderr: str = ""
) -> dict[str, Any]:
    return {
        "status": status,
        "execution_time": seconds,
        "return_code": return_code,
        "stdout": stdout,
        "stderr": stderr,
    }


def _response(status: str, message: str = "", **results: Any) -> Response:
    return JSONResponse({"status": status, "message": message, **results, "executor_pod_name": None, "files": {}})

"""The MCP server: the same tools over every transport.

Its name is `python`, by which vLLM's `--tool-server` finds it. A snippet that fails is a result, not an error of the
tool: models read the traceback. A mistake in the arguments is a result with `is_error`. An infrastructure failure is an
error of the protocol, so that no client takes it for the program's.
"""

import logging
from contextlib import aclosing
from typing import Any, cast

from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)
from pydantic import ValidationError

from deepmath import __version__
from deepmath.errors import DeepMathError, Forbidden, InvalidRequest, Overloaded, ReplayDiverged, WrongOrder
from deepmath.integrations.mcp.call_progress import CallProgress, reported
from deepmath.integrations.mcp.tool_calls import (
    CLEANUP,
    PYTHON,
    SOLVE,
    TOOLS,
    PythonArguments,
    RequestContext,
    SolveArguments,
    ToolBackend,
)
from deepmath.integrations.mcp.tool_results import (
    PYTHON_SCHEMA,
    SOLVE_SCHEMA,
    python_result,
    refusal_result,
    solution_result,
)
from deepmath.sdk.results import Solution

log = logging.getLogger(__name__)

SERVER_NAME = "python"
_INSTRUCTIONS = (
    "Use this tool to execute Python code in your chain of thought. The code will not be shown to the user. Variables "
    "live between calls."
)
_SCHEMAS = {PYTHON: PYTHON_SCHEMA, SOLVE: SOLVE_SCHEMA}
# For vLLM: leave the tools out of the prompt, since models that use this server know its `python`.
_META = {"include_in_prompt": False}
_CALLERS_FAULT = (InvalidRequest, Forbidden, WrongOrder, ReplayDiverged)


class ToolServer:
    """Serves the tools of a backend: `server` runs on the streams of any transport."""

    def __init__(self, backend: ToolBackend, **options: Any) -> None:
        self._backend = backend
        self.server = Server[Any](
            SERVER_NAME,
            version=__version__,
            title="DeepMath",
            instructions=_INSTRUCTIONS,
            on_list_tools=self._list,
            on_call_tool=self._call,
            **options,
        )

    async def _list(self, context: RequestContext, _: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[_described(name) for name in await self._backend.offered(context)])

    async def _call(self, context: RequestContext, params: CallToolRequestParams) -> CallToolResult:
        if params.name not in await self._backend.offered(context):
            raise MCPError(INVALID_PARAMS, "there is no such tool here; list the tools")
        try:
            arguments = TOOLS[params.name].arguments.model_validate(params.arguments or {})
        except ValidationError as error:
            return refusal_result(_mistake(error))
        try:
            return await self._run(context, params.name, arguments)
        except _CALLERS_FAULT as error:
            return refusal_result(str(error))
        except DeepMathError as error:
            raise MCPError(INTERNAL_ERROR, str(error), _failure(error)) from None

    async def _run(self, context: RequestContext, name: str, arguments: object) -> CallToolResult:
        if name == SOLVE:
            return await self._solve(context, cast(SolveArguments, arguments))
        if name == CLEANUP:
            await self._backend.end_session(context)
            return CallToolResult(content=[TextContent(text="The session has ended.")])
        async with reported(context.session, CallProgress()):
            return python_result(await self._backend.run_python(context, cast(PythonArguments, arguments).code))

    async def _solve(self, context: RequestContext, arguments: SolveArguments) -> CallToolResult:
        progress, ends = CallProgress(arguments.samples), []
        async with (
            reported(context.session, progress),
            aclosing(cast(Any, self._backend.solve(context, arguments))) as events,
        ):
            async for event in events:
                progress.add(event)
                if event.WhichOneof("event") in ("trajectory", "vote"):
                    ends.append(event)
        return solution_result(Solution.of(arguments.question, ends))


def _described(name: str) -> Tool:
    definition = TOOLS[name]
    return Tool(
        name=name,
        title=definition.title,
        description=definition.description,
        input_schema=definition.arguments.model_json_schema(),
        output_schema=_SCHEMAS.get(name),
        _meta=_META,
    )


def _mistake(error: ValidationError) -> str:
    """Return the first mistake in the arguments, without their values."""
    mistake = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in mistake["loc"])[:100]
    return f"{where}: {mistake['msg']}" if where else mistake["msg"]


def _failure(error: DeepMathError) -> dict[str, object]:
    """Return what a program needs to know of an infrastructure failure: its class, and when to try again."""
    retry = {"retry_after_ms": error.retry_after_ms} if isinstance(error, Overloaded) else {}
    return {"error": type(error).__name__, **retry}

"""smolagents tools as host functions: called by snippets in the sandbox, run in this process."""

import contextvars
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from deepmath.clients import HostFunction
from deepmath.integrations.smolagents.tool_thread import run_in_thread

FINAL_ANSWER = "final_answer"

Tool = Callable[..., Any]


def host_tool_functions(
    tools: Mapping[str, Tool], context: contextvars.Context, on_final_answer: Callable[[Any], None]
) -> dict[str, HostFunction]:
    """Return `tools` as host functions, run in `context`. `on_final_answer` gets the result of `final_answer`."""
    functions = {}
    for name, tool in tools.items():
        parameters = _positional_parameters(tool)
        is_final = name == FINAL_ANSWER
        call = partial(_call, tool, parameters, context, on_final_answer if is_final else None)
        functions[name] = HostFunction(call, parameters, ends_snippet=is_final)
    return functions


def _positional_parameters(tool: Tool) -> tuple[str, ...]:
    """Return the names of the parameters that can be passed by position, in order."""
    inputs = getattr(tool, "inputs", None)
    if isinstance(inputs, Mapping) and getattr(tool, "skip_forward_signature_validation", False):
        return tuple(inputs)
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = inspect.signature(getattr(tool, "forward", tool)).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature
        return ()
    return tuple(parameter.name for parameter in parameters if parameter.kind in positional)


async def _call(
    tool: Tool,
    parameters: tuple[str, ...],
    context: contextvars.Context,
    on_final_answer: Callable[[Any], None] | None,
    arguments: dict[str, Any],
) -> Any:
    # By position where possible: smolagents takes a single dictionary argument for all keyword arguments.
    positional = []
    for name in parameters:
        if name not in arguments:
            break
        positional.append(arguments.pop(name))
    result = await run_in_thread(partial(tool, *positional, **arguments), context)
    if on_final_answer is None:
        return result
    on_final_answer(result)  # stays in this process, and need not be JSON
    return None

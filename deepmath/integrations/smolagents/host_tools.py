"""Tools as host functions: called in the sandbox, run in this process."""

import contextvars
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from deepmath.clients import HostFunction
from deepmath.integrations.smolagents.tool_thread import in_thread

FINAL_ANSWER = "final_answer"

Tool = Callable[..., Any]


def host_functions(
    tools: Mapping[str, Tool], context: contextvars.Context, answer: Callable[[Any], None]
) -> dict[str, HostFunction]:
    """Return `tools` as functions that a snippet may call. `answer` is told what `final_answer` returned."""
    functions = {}
    for name, tool in tools.items():
        parameters = _parameters(tool)
        ends = name == FINAL_ANSWER
        functions[name] = HostFunction(
            partial(_call, tool, parameters, context, answer if ends else None), parameters, ends_snippet=ends
        )
    return functions


def _parameters(tool: Tool) -> tuple[str, ...]:
    """Return what the arguments that are given by position are called, in the order in which `tool` takes them."""
    inputs = getattr(tool, "inputs", None)
    if isinstance(inputs, Mapping) and getattr(tool, "skip_forward_signature_validation", False):
        return tuple(inputs)
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = inspect.signature(getattr(tool, "forward", tool)).parameters.values()
    except (TypeError, ValueError):  # some builtins have none
        return ()
    return tuple(parameter.name for parameter in parameters if parameter.kind in positional)


async def _call(
    tool: Tool,
    parameters: tuple[str, ...],
    context: contextvars.Context,
    answer: Callable[[Any], None] | None,
    arguments: dict[str, Any],
) -> Any:
    # By position as far as that goes: smolagents takes a single dictionary for all arguments by name.
    positional = []
    for name in parameters:
        if name not in arguments:
            break
        positional.append(arguments.pop(name))
    result = await in_thread(partial(tool, *positional, **arguments), context)
    if answer is None:
        return result
    answer(result)  # it stays here: it need not be what JSON can hold
    return None

"""Snippet results as smolagents' exceptions, with messages in the form that models know from its interpreter."""

import re
from collections.abc import Sequence

from smolagents.local_python_executor import ExecutionTimeoutError, InterpreterError

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.integrations.smolagents.smolagents_patches.refused_import import refused_import_message

_SYNTAX_ERRORS = ("SyntaxError", "IndentationError", "TabError")
_TRACEBACK_HEADER = "Traceback (most recent call last):\n"
_REFUSED_IMPORT = re.compile(r"module '([^']*)' may not be imported here(?:: ([^\n]*))?")
_STATE_LOST = "; the variables of earlier snippets are lost, except for those that were sent with the task"
_KILLED = {
    pb.OUTCOME_OUT_OF_MEMORY: "MemoryError: the memory limit was reached",
    pb.OUTCOME_OUTPUT_LIMIT: "the snippet exceeded the output limit and was killed",
    pb.OUTCOME_POLICY_VIOLATION: "the snippet attempted an operation that the sandbox forbids and was killed",
    pb.OUTCOME_CRASHED: "the Python interpreter crashed while it ran the snippet",
}


def to_error(result: pb.SnippetResult, code: str, authorized: Sequence[str], seconds: float) -> Exception | None:
    """Return the exception for a result of the snippet `code`; None if it succeeded.

    `authorized` are the modules that the snippet may import, `seconds` its time limit.
    """
    lost = _STATE_LOST if result.state_lost else ""
    if result.outcome == pb.OUTCOME_OK:
        return None
    if result.outcome in (pb.OUTCOME_WALL_TIMEOUT, pb.OUTCOME_CPU_TIMEOUT):
        return ExecutionTimeoutError(
            f"Code execution exceeded the maximum execution time of {seconds:g} seconds{_location(result, code)}{lost}"
        )
    if not result.HasField("exception"):
        return InterpreterError(f"Code execution failed due to: {_KILLED.get(result.outcome, 'an error')}{lost}")
    raised = result.exception
    kind = raised.type.rpartition(".")[2]
    if kind in _SYNTAX_ERRORS and _TRACEBACK_HEADER not in raised.traceback:
        return InterpreterError(_syntax_error_message(result, kind))
    reason = f"{kind}: {raised.message}"
    if result.outcome == pb.OUTCOME_POLICY_VIOLATION and (refused := _REFUSED_IMPORT.match(raised.message)):
        why = f"; {refused[2]}" if refused[2] else ""
        reason = f"InterpreterError: {refused_import_message(refused[1], authorized)}{why}"
    return InterpreterError(f"Code execution failed{_location(result, code)} due to: {reason}{lost}")


def _location(result: pb.SnippetResult, code: str) -> str:
    """Return ` at line '...'` with the snippet's top-level line that raised; empty if it is unknown."""
    *_, last = result.exception.traceback.split(_TRACEBACK_HEADER)  # the outermost of chained exceptions comes last
    found = re.search(rf'^  File "<snippet {result.sequence}>", line (\d{{1,6}})', last, re.MULTILINE)
    lines = code.splitlines()
    if found is None or not 0 < int(found[1]) <= len(lines):
        return ""
    return f" at line '{lines[int(found[1]) - 1].strip()}'"


def _syntax_error_message(result: pb.SnippetResult, kind: str) -> str:
    name = f"<snippet {result.sequence}>"
    found = re.search(rf'File "{name}", line (\d{{1,6}})', result.exception.traceback)
    place = f" on line {found[1]}" if found else ""
    # Between the location and the message, a traceback quotes the line and marks the position.
    quoted = result.exception.traceback.splitlines()[1:-1]
    message = result.exception.message.replace(name, "<unknown>")
    return "\n".join([f"Code parsing failed{place} due to: {kind}: {message}", *quoted])

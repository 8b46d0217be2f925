"""What a snippet did, in the words of smolagents: its exceptions, and messages in the form that models know."""

import re
from collections.abc import Sequence

from smolagents.local_python_executor import ExecutionTimeoutError, InterpreterError

from deepmath.executor.v1 import executor_pb2 as pb

_SYNTAX = ("SyntaxError", "IndentationError", "TabError")
_HEADER = "Traceback (most recent call last):\n"
_REFUSED = re.compile(r"module '([^']*)' may not be imported here")
_LOST = "; the variables of earlier snippets are lost, except for those that were sent with the task"
_KILLED = {
    pb.OUTCOME_OUT_OF_MEMORY: "MemoryError: the memory limit was reached",
    pb.OUTCOME_OUTPUT_LIMIT: "the snippet printed far too much and was killed",
    pb.OUTCOME_POLICY_VIOLATION: "the snippet tried what the sandbox forbids and was killed",
    pb.OUTCOME_CRASHED: "the Python interpreter died under the snippet",
}


def to_error(result: pb.SnippetResult, code: str, authorized: Sequence[str], seconds: float) -> Exception | None:
    """Return what the snippet `code` with this result failed by; None where it did not.

    `authorized` are the modules that it may import, `seconds` its time limit.
    """
    lost = _LOST if result.state_lost else ""
    if result.outcome == pb.OUTCOME_OK:
        return None
    if result.outcome in (pb.OUTCOME_WALL_TIMEOUT, pb.OUTCOME_CPU_TIMEOUT):
        return ExecutionTimeoutError(
            f"Code execution exceeded the maximum execution time of {seconds:g} seconds{_at(result, code)}{lost}"
        )
    if not result.HasField("exception"):
        return InterpreterError(f"Code execution failed due to: {_KILLED.get(result.outcome, 'an error')}{lost}")
    raised = result.exception
    kind = raised.type.rpartition(".")[2]
    if kind in _SYNTAX and _HEADER not in raised.traceback:
        return InterpreterError(_parsing(result, kind))
    reason = f"{kind}: {raised.message}"
    if result.outcome == pb.OUTCOME_POLICY_VIOLATION and (refused := _REFUSED.match(raised.message)):
        # CodeAgent looks for these words, to tell the user how to allow it.
        allowed = f"Import of {refused[1]} is not allowed. Authorized imports are: {list(authorized)}"
        reason = f"InterpreterError: {allowed}"
    return InterpreterError(f"Code execution failed{_at(result, code)} due to: {reason}{lost}")


def _at(result: pb.SnippetResult, code: str) -> str:
    """Return ` at line '...'` with the line of the snippet's own level that raised; empty where that is not known."""
    *_, last = result.exception.traceback.split(_HEADER)  # of a chain of exceptions the last is the one that came out
    found = re.search(rf'^  File "<snippet {result.sequence}>", line (\d{{1,6}})', last, re.MULTILINE)
    lines = code.splitlines()
    if found is None or not 0 < int(found[1]) <= len(lines):
        return ""
    return f" at line '{lines[int(found[1]) - 1].strip()}'"


def _parsing(result: pb.SnippetResult, kind: str) -> str:
    name = f"<snippet {result.sequence}>"
    found = re.search(rf'File "{name}", line (\d{{1,6}})', result.exception.traceback)
    place = f" on line {found[1]}" if found else ""
    # The line in question and the mark below it are between the place and the message.
    quoted = result.exception.traceback.splitlines()[1:-1]
    message = result.exception.message.replace(name, "<unknown>")
    return "\n".join([f"Code parsing failed{place} due to: {kind}: {message}", *quoted])

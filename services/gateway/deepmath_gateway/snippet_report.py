"""A snippet's result as the exit status and texts of a program, and as the error of a notebook's cell."""

import base64
from typing import NamedTuple

from deepmath.executor.v1 import executor_pb2 as pb

_TIMEOUTS = (pb.OUTCOME_WALL_TIMEOUT, pb.OUTCOME_CPU_TIMEOUT)
_KILLED_STATUS = -9  # SIGKILL, as subprocess reports it
_DROPPED = ("stdout", "stderr", "value")


class SnippetError(NamedTuple):
    """The error that ended a snippet, as a notebook shows it."""

    name: str
    """Name of its class, without the module."""
    message: str
    traceback: str


def timed_out(result: pb.SnippetResult) -> bool:
    """Return whether the snippet reached a time limit."""
    return result.outcome in _TIMEOUTS


def exit_status(result: pb.SnippetResult) -> int:
    """Return the exit status of the snippet as a program: -9 if it was killed."""
    if result.outcome == pb.OUTCOME_OK:
        return 0
    if result.state_lost:
        return _KILLED_STATUS
    status = _exit_argument(result)
    return 1 if status is None else status & 0xFF


def program_stderr(result: pb.SnippetResult) -> str:
    """Return the standard error of the snippet as a program: with the traceback, and a line on what was cut or killed.

    The traceback of a `sys.exit` is left out, as Python does.
    """
    parts = [result.stderr]
    if result.exception.type != "SystemExit":
        parts.append(result.exception.traceback)
    elif _exit_argument(result) is None:
        parts.append(result.exception.message)
    return _lines([*parts, *notes(result)])


def snippet_error(result: pb.SnippetResult) -> SnippetError | None:
    """Return the error of a snippet; None if it completed."""
    if result.outcome == pb.OUTCOME_OK:
        return None
    raised = result.exception
    if raised.type and not result.state_lost:
        return SnippetError(raised.type.rpartition(".")[2], raised.message, raised.traceback)
    reason = _end(result)
    name, _, message = reason.partition(": ")
    return SnippetError(name, message, _lines([raised.traceback, reason]))


def notes(result: pb.SnippetResult) -> list[str]:
    """Return a line for each text that was cut, for figures left out, and for a kill."""
    cut = [(name, getattr(result.dropped_bytes, name)) for name in _DROPPED]
    lines = [f"({count} bytes were cut out of the middle of the {name})" for name, count in cut if count]
    if result.dropped_rich_outputs:
        lines.append(f"({result.dropped_rich_outputs} figures were left out)")
    return [*lines, _end(result)] if result.state_lost else lines


def figures(result: pb.SnippetResult) -> list[dict[str, str]]:
    """Return the figures of a snippet as MIME bundles."""
    return [
        {"text/plain": "<Figure>", figure.mime_type: base64.b64encode(figure.data).decode()}
        for figure in result.rich_outputs
    ]


def _exit_argument(result: pb.SnippetResult) -> int | None:
    """Return the number that a snippet called `sys.exit` with; None if it did not, or with a text."""
    text = result.exception.message
    if result.exception.type != "SystemExit" or not text.isascii() or len(text) > 20:
        return None
    return int(text) if text.removeprefix("-").isdecimal() else None


def _end(result: pb.SnippetResult) -> str:
    """Return why a snippet that lost its variables was ended, after the name of an error."""
    usage = result.usage
    match result.outcome:
        case pb.OUTCOME_WALL_TIMEOUT:
            reason = f"TimeoutError: killed after {usage.wall_ms / 1000:.1f} s"
        case pb.OUTCOME_CPU_TIMEOUT:
            reason = f"TimeoutError: killed after {usage.cpu_ms / 1000:.1f} s of processor time"
        case pb.OUTCOME_OUT_OF_MEMORY:
            reason = "MemoryError: killed at the memory limit"
        case pb.OUTCOME_OUTPUT_LIMIT:
            reason = "OutputLimitError: killed for too much output"
        case pb.OUTCOME_POLICY_VIOLATION:
            reason = "PermissionError: killed for a forbidden system call"
        case _:
            reason = "InterpreterCrash: the interpreter crashed"
    return f"{reason}; all variables are lost"


def _lines(parts: list[str]) -> str:
    """Return the parts that are not empty, each with a line break at its end; a single part as it is."""
    parts = [part for part in parts if part]
    return "".join(part if part.endswith("\n") else f"{part}\n" for part in parts) if len(parts) > 1 else "".join(parts)

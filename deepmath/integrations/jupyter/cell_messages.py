"""Messages of Jupyter's protocol for the result of a cell.

A snippet writes text and images, and never a message: its text goes into the fields of messages made here, with control
characters escaped, as text/plain; its images as image/png, which the executor has checked.
"""

import base64
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from deepmath.errors import DeepMathError
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.integrations.jupyter.cell_runner import CellRun
from deepmath.printable_text import printable, printable_line

# A notebook's request for figures in the output, where they are anyway.
_INLINE_FIGURES = re.compile(r"^[ \t]*%matplotlib[ \t]+(?:inline|agg)[ \t]*$", re.MULTILINE)
STATE_LOST = "The sandbox was killed, so the notebook's variables are lost: run the cells that they need again."


class Message(NamedTuple):
    """A message on the kernel's IOPub channel."""

    type: str
    content: dict[str, Any]


def source(code: str) -> str:
    """Return the code of a cell without `%matplotlib inline`, which is no Python. Line numbers stay."""
    return _INLINE_FIGURES.sub("", code)


def stream_message(name: str, text: str) -> Message:
    """Return the message with a part of what the cell wrote to `stdout` or `stderr`."""
    return Message("stream", {"name": name, "text": printable(text)})


def output_messages(run: CellRun, execution_count: int) -> Iterator[Message]:
    """Yield the messages with what the cell drew and evaluated, and notes of the kernel."""
    result = run.result
    for output in result.rich_outputs:
        if output.mime_type == "image/png":
            image = {"image/png": base64.b64encode(output.data).decode(), "text/plain": "<figure>"}
            yield Message("display_data", {"data": image, "metadata": {}})
    if result.HasField("value"):
        value = {"text/plain": printable(result.value)}
        yield Message("execute_result", {"data": value, "metadata": {}, "execution_count": execution_count})
    if notes := "".join(f"[deepmath: {printable_line(note)}]\n" for note in (*run.notes, *_losses(result))):
        yield stream_message("stderr", notes)


def result_error(result: pb.SnippetResult) -> dict[str, Any] | None:
    """Return the content of an error message for a cell that failed, else None."""
    if result.outcome == pb.OUTCOME_OK:
        return None
    outcome, raised = outcome_name(result), result.exception
    lines = printable(raised.traceback).splitlines()
    if outcome != "EXCEPTION":
        lines.append(f"[{outcome}]")
    if result.state_lost:
        lines.append(STATE_LOST)
    name = raised.type if result.HasField("exception") else outcome
    message = raised.message or (STATE_LOST if result.state_lost else "")
    return {"ename": printable_line(name), "evalue": printable(message), "traceback": lines}


def failure_error(error: DeepMathError) -> dict[str, Any]:
    """Return the content of an error message for a cell that no executor ran."""
    name, message = type(error).__name__, printable(str(error))
    return {"ename": name, "evalue": message, "traceback": [f"{name}: {message}"]}


def interrupt_error() -> dict[str, Any]:
    """Return the content of an error message for an interrupted cell."""
    message = "The cell was interrupted; the variables are as they were before it."
    return {"ename": "KeyboardInterrupt", "evalue": message, "traceback": [f"KeyboardInterrupt: {message}"]}


def outcome_name(result: pb.SnippetResult) -> str:
    """Return the name of the outcome without its prefix: OK, EXCEPTION, WALL_TIMEOUT, ..."""
    return pb.Outcome.Name(result.outcome).removeprefix("OUTCOME_")


def _losses(result: pb.SnippetResult) -> Iterator[str]:
    """Yield what was cut from the result."""
    for field in ("stdout", "stderr", "value"):
        if dropped := getattr(result.dropped_bytes, field):
            yield f"{dropped} bytes were cut from the middle of {field}, which is over the executor's limit"
    if left_out := result.dropped_rich_outputs:
        yield f"{left_out} figures were left out, over the executor's limits"

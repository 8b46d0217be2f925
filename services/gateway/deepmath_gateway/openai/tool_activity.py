"""The code that the agent ran, as items of OpenAI's code interpreter, and as Markdown."""

import base64
import re
from typing import Any

from deepmath.dialects.output_fence import write_output
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath_gateway.openai.turn_events import CodeEnded, CodeStarted

_BACKTICKS = re.compile(r"`{3,}")


def activity_fields(item_id: str, code: str) -> dict[str, Any]:
    """Return the item of code that starts to run."""
    return {"type": "code_interpreter_call", "id": item_id, "status": "in_progress", "code": code, "outputs": None}


def ended_fields(event: CodeEnded) -> dict[str, Any]:
    """Return what the end of the code changes in its item."""
    return {"status": "completed", "outputs": code_outputs(event), "outcome": outcome_name(event.result)}


def code_outputs(event: CodeEnded) -> list[dict[str, Any]]:
    """Return the outputs: what the model reads, and the figures, which it does not see."""
    images = [
        {"type": "image", "url": f"data:{figure.mime_type};base64,{base64.b64encode(figure.data).decode()}"}
        for figure in event.result.rich_outputs
    ]
    return [{"type": "logs", "logs": event.text}, *images]


def outcome_name(result: pb.SnippetResult) -> str:
    """Return the executor's outcome: "ok", "exception", "wall_timeout", ..."""
    return pb.Outcome.Name(result.outcome).removeprefix("OUTCOME_").lower()


def activity_text(event: CodeStarted | CodeEnded) -> str:
    """Return the code, or what it put out, in a fence."""
    if isinstance(event, CodeEnded):
        return write_output(event.text)
    longest = max(map(len, _BACKTICKS.findall(event.code)), default=2)
    fence = "`" * (longest + 1)
    return f"\n{fence}python\n{event.code}\n{fence}"

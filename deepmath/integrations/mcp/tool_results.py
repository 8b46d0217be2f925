"""Results of tools as text, which a model reads, images, and structured content, which programs read."""

import base64
from dataclasses import asdict
from typing import Any

from mcp_types import CallToolResult, ContentBlock, ImageContent, TextContent

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sdk.results import CodeResult, Solution

PYTHON_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "outcome": {"type": "string", "description": "OK, EXCEPTION, WALL_TIMEOUT, CPU_TIMEOUT, OUT_OF_MEMORY, ..."},
        "value": {"type": ["string", "null"], "description": "The `repr` of the last expression."},
        "stdout": {"type": "string"},
        "stderr": {"type": "string"},
        "error": {
            "type": ["object", "null"],
            "properties": {name: {"type": "string"} for name in ("type", "message", "traceback")},
        },
        "state_lost": {"type": "boolean", "description": "Whether the variables of the session are lost."},
        "wall_seconds": {"type": "number"},
        "cpu_seconds": {"type": "number"},
        "dropped_bytes": {"type": "integer", "description": "Bytes cut from the texts."},
        "dropped_figures": {"type": "integer"},
    },
    "required": ["outcome", "value", "stdout", "stderr", "error", "state_lost"],
}
SOLVE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "question": {"type": "string"},
        "answer": {"type": "string", "description": "The majority answer; empty if no sample has one."},
        "votes": {"type": "object", "description": "Number of samples by answer."},
        "samples": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["question", "answer", "votes", "samples"],
}


def python_result(result: pb.SnippetResult) -> CallToolResult:
    """Return the result of code that ran, whatever its outcome: an exception is what the caller wants to read."""
    shown = CodeResult.of(result)
    content: list[ContentBlock] = [TextContent(text=_python_text(shown, result.dropped_rich_outputs))]
    content += [
        ImageContent(data=base64.b64encode(output.data).decode(), mime_type=output.mime_type)
        for output in result.rich_outputs
    ]
    structured = asdict(shown) | {"dropped_figures": result.dropped_rich_outputs}
    return CallToolResult(content=content, structured_content=structured)


def solution_result(solution: Solution) -> CallToolResult:
    """Return the majority answer after the text of the first sample that has it, and all samples."""
    votes = ", ".join(f"{answer} ({count})" for answer, count in solution.votes.items())
    chosen = next((sample for sample in solution.samples if sample.answer == solution.answer), None)
    parts = [chosen.text if chosen else "", f"Answer: {solution.answer}" if solution.answer else "No answer was found."]
    if len(solution.samples) > 1:
        parts.append(f"Votes of {len(solution.samples)} samples: {votes or 'none'}")
    text = "\n\n".join(part for part in parts if part)
    return CallToolResult(content=[TextContent(text=text)], structured_content=asdict(solution))


def refusal_result(message: str) -> CallToolResult:
    """Return a mistake in a call, which its caller can correct."""
    return CallToolResult(content=[TextContent(text=message)], is_error=True)


def _python_text(result: CodeResult, dropped_figures: int) -> str:
    """Return what a notebook shows: output, value, traceback, and notes in brackets."""
    notes = [result.outcome] if result.outcome not in ("OK", "EXCEPTION") else []
    if result.state_lost:
        notes.append("the variables of the session are lost")
    if result.dropped_bytes:
        notes.append(f"{result.dropped_bytes} bytes were cut from the middle of the output")
    if dropped_figures:
        notes.append(f"{dropped_figures} figures were left out")
    parts = [result.stdout, result.stderr, result.value or "", result.error.traceback if result.error else ""]
    lines = [part.removesuffix("\n") for part in parts if part]
    return "\n".join([*lines, f"[{'; '.join(notes)}]"] if notes else lines)

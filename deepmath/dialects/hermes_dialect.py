"""Function calls as JSON in `<tool_call>`: the dialect of Hermes 2 Pro, and of Qwen2.5 and Qwen3 instruct models."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from deepmath.dialects.call_code import python_source
from deepmath.dialects.call_marks import CallMarks
from deepmath.dialects.dialect import Dialect, MalformedCall, Message, OutputPiece, Render, TranscriptPart
from deepmath.dialects.output_fence import write_output
from deepmath.dialects.tool_turn import ToolTurn, ToolTurnReader

_TOOL = {
    "type": "function",
    "function": {
        "name": "python",
        "description": (
            "Run Python. Returns what the code prints, then the value of its last expression. Variables and imports "
            "stay from one call to the next."
        ),
        "parameters": {
            "type": "object",
            "properties": {"code": {"type": "string", "description": "Python code."}},
            "required": ["code"],
        },
    },
}
_FORM = '{"name": "python", "arguments": {"code": "..."}}'


@dataclass(frozen=True)
class HermesDialect(Dialect):
    """A call is a JSON object with `name` and `arguments`; its output is a turn of the chat template.

    Models often write Python itself instead, and lines in JSON strings without escapes: both are read.
    """

    turn: ToolTurn | None = None

    name: ClassVar[str] = "hermes"
    start: ClassVar[str] = "<tool_call>"
    end: ClassVar[str] = "</tool_call>"
    marks: ClassVar[CallMarks] = CallMarks.tags(start, end)
    examples: ClassVar[Literal["system", "turns"]] = "turns"
    tools: ClassVar[Sequence[dict[str, Any]]] = (_TOOL,)
    instructions: ClassVar[str] = (
        "- Call the function `python` with the code.\n"
        "- Its response is what the code printed, followed by the value of its last expression. Never write a response "
        "yourself."
    )

    def bind(self, render: Render) -> Self:
        """Return the dialect with the tool turns of a chat template."""
        return type(self)(ToolTurn.of(render, self.name))

    @property
    def form(self) -> str:
        """The form of a call, for a message to the model."""
        return f"as {self.start}{_FORM}{self.end}"

    def code(self, call: str) -> str:
        """Return the code of a call of `python`, or of a call that is no JSON object.

        Raises:
            MalformedCall: it is broken JSON, or calls something else.
        """
        text = call.strip()
        if not text.startswith("{"):
            return python_source(call)
        try:
            parsed = json.loads(text, strict=False)  # lines in strings
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "it is nested too deeply"
            raise MalformedCall(f"the call is not valid JSON ({reason}); write it {self.form}") from None
        name, arguments = parsed.get("name"), parsed.get("arguments", parsed.get("parameters"))
        if name != "python":
            raise MalformedCall(f"there is only the function python; call it {self.form}")
        if isinstance(arguments, str):
            arguments = _object(arguments)
        code = arguments.get("code") if isinstance(arguments, dict) else arguments
        if not isinstance(code, str):
            raise MalformedCall(f"the argument code is missing, or no string; write the call {self.form}")
        return python_source(code)

    def write_call(self, code: str) -> str:
        """Return a call as the model writes it."""
        call = json.dumps({"name": "python", "arguments": {"code": code}}, ensure_ascii=False)
        return f"{self.start}\n{call}\n{self.end}"

    def output(self, text: str, before: str) -> list[OutputPiece]:
        """Return the output in a turn of the chat template; in a fence before the dialect is bound to one."""
        return self.turn.pieces(text, before) if self.turn else [OutputPiece(write_output(text))]

    def output_reader(self) -> ToolTurnReader:
        """Return a reader of `<tool_response>`."""
        start_of_turn = r"(?:\s*<\|im_end\|>)?\s*<\|im_start\|>assistant\n(?:<think>\n)?"
        return ToolTurnReader(r"<tool_response>\n", rf"\n</tool_response>{start_of_turn}")

    def example_turns(self, question: str, parts: Sequence[TranscriptPart]) -> Iterator[Message]:
        """Yield a solved example, with its calls as the chat template writes them."""
        yield {"role": "user", "content": question}
        said = ""
        for part in parts:
            match part.kind:
                case "prose":
                    said = part.text.strip()
                case "call":
                    function = {"name": "python", "arguments": {"code": part.text}}
                    yield {
                        "role": "assistant",
                        "content": said,
                        "tool_calls": [{"type": "function", "function": function}],
                    }
                    said = ""
                case "output":
                    yield {"role": "tool", "content": part.text}
        if said:
            yield {"role": "assistant", "content": said}


def _object(text: str) -> object:
    """Return the object that the string `text` holds as JSON, or the string itself: then it is the code."""
    try:
        return json.loads(text, strict=False) if text.lstrip().startswith("{") else text
    except (ValueError, RecursionError):
        return text

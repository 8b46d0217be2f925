"""Function calls as JSON in `<tool_call>`: the dialect of Hermes 2 Pro, and of Qwen2.5 and Qwen3 instruct models."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from deepmath.dialects.call_code import python_source
from deepmath.dialects.call_marks import CallMarks, Mark
from deepmath.dialects.dialect import MalformedCall, Message
from deepmath.dialects.turn_dialect import TurnDialect

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
_JSON = re.compile(r"""\s*(?:```(?:json)?\s*)?(\{\s*["'}].*|\[\s*\{\s*"name".*)""", re.DOTALL)
"""A call as JSON, maybe in a fence. A set or a comprehension is Python."""
_FORM = '{"name": "python", "arguments": {"code": "..."}}'


_START, _END = Mark.texts("<tool_call>"), Mark.texts("</tool_call>")
_OUTPUT = Mark.texts("<tool_response>")


@dataclass(frozen=True)
class HermesDialect(TurnDialect):
    """A call is a JSON object with `name` and `arguments`; its output is a turn of the chat template.

    Models often write Python itself instead, and lines in JSON strings without escapes: both are read. A response that
    the model writes itself is cut off.
    """

    name: ClassVar[str] = "hermes"
    start: ClassVar[str] = "<tool_call>"
    end: ClassVar[str] = "</tool_call>"
    marks: ClassVar[CallMarks] = CallMarks.of(
        {"start": _START, "end": _END, "output": _OUTPUT}, {"start": _START, "end": _END}
    )
    turn_start: ClassVar[str] = r"<tool_response>\n"
    turn_end: ClassVar[str] = (
        r"\n</tool_response>(?:\s{0,8}<\|im_end\|>)?\s{0,8}<\|im_start\|>assistant\n(?:<think>\n)?"
    )
    examples: ClassVar[Literal["system", "turns"]] = "turns"
    tools: ClassVar[Sequence[dict[str, Any]]] = (_TOOL,)
    instructions: ClassVar[str] = (
        "- Call the function `python` with the code.\n"
        "- Its response is what the code printed, followed by the value of its last expression. Never write a response "
        "yourself."
    )

    @property
    def form(self) -> str:
        """The form of a call, for a message to the model."""
        return f"as {self.start}{_FORM}{self.end}"

    def code(self, call: str) -> str:
        """Return the code of a call of `python`, or of a call that is no JSON.

        Raises:
            MalformedCall: it is broken JSON, or calls something else.
        """
        if not (found := _JSON.match(call)):
            return python_source(call)
        try:
            parsed = json.loads(found[1].rstrip("` \t\r\n"), strict=False)  # lines in strings
        except (ValueError, RecursionError) as error:
            raise MalformedCall(f"the call is not valid JSON ({_reason(error)}); write it {self.form}") from None
        if not isinstance(parsed, dict):
            raise MalformedCall(f"there is one call at a time, without a list around it; write it {self.form}")
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

    def call_message(self, said: str, code: str) -> Message:
        """Return a call as the chat template writes it."""
        function = {"name": "python", "arguments": {"code": code}}
        return {"role": "assistant", "content": said, "tool_calls": [{"type": "function", "function": function}]}


def _object(text: str) -> object:
    """Return the object that the string `text` holds as JSON, or the string itself: then it is the code."""
    try:
        return json.loads(text, strict=False) if text.lstrip().startswith("{") else text
    except (ValueError, RecursionError):
        return text


def _reason(error: Exception) -> str:
    match error:
        case json.JSONDecodeError():
            return error.msg
        case RecursionError():
            return "it is nested too deeply"
        case _:
            return "it has a number that is too long"

"""Function calls as models write them: the forms, and the choice of the one that a chat template writes."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from deepmath.dialects.call_marks import CallMarks
from deepmath.dialects.dialect import MalformedCall, Message
from deepmath.errors import InvalidRequest

RenderFunctions = Callable[[Sequence[Message], Sequence[dict[str, Any]] | None], str]
"""Renders messages and descriptions of functions by a model's chat template, which may reject them."""

_PROBE, _VALUE = "probe_function", "\u2063value\u2063"
_FUNCTION = {
    "type": "function",
    "function": {
        "name": _PROBE,
        "description": "?",
        "parameters": {"type": "object", "properties": {"x": {"type": "string"}}},
    },
}


@dataclass(frozen=True, slots=True)
class CalledFunction:
    """A call: the function's name, and its arguments as a JSON object."""

    name: str
    arguments: str


class FunctionCallForm(ABC):
    """A form of function calls."""

    def read(self, call: str) -> list[CalledFunction]:
        """Return the calls in the text between the marks.

        Raises:
            MalformedCall: It is not in this form.
        """
        parsed = _parsed(self.json_text(call))
        calls = parsed if isinstance(parsed, list) else [parsed]
        if not calls:
            raise MalformedCall("there is no call")
        return [_called(call) for call in calls]

    @abstractmethod
    def json_text(self, call: str) -> str:
        """Return the JSON of the text between the marks."""


class TaggedCalls(FunctionCallForm):
    """JSON objects between `<tool_call>` and `</tool_call>`: Hermes 2 Pro, Qwen2.5, Qwen3 and others."""

    marks = CallMarks.tags("<tool_call>", "</tool_call>")

    def json_text(self, call: str) -> str:
        """Return the text."""
        return call.strip()


class BareCalls(FunctionCallForm):
    """A turn that is a JSON object, maybe after `<|python_tag|>`: Llama 3.1 and later."""

    def json_text(self, call: str) -> str:
        """Return the text without the mark before it."""
        return call.strip().removeprefix("<|python_tag|>")


def function_call_form(render: RenderFunctions) -> FunctionCallForm:
    """Return the form in which a chat template writes calls.

    Raises:
        InvalidRequest: It does not describe functions, or writes calls in another form.
    """
    question: Message = {"role": "user", "content": "?"}
    try:
        if _PROBE not in render([question], [_FUNCTION]):
            raise InvalidRequest("the model's chat template does not describe functions")
        call = {"type": "function", "function": {"name": _PROBE, "arguments": {"x": _VALUE}}}
        calling: Message = {"role": "assistant", "content": "", "tool_calls": [call]}
        output: Message = {"role": "tool", "name": _PROBE, "content": "?"}
        written = render([question, calling, output], None)
    except InvalidRequest:
        raise
    except Exception as error:  # templates are programs, and reject messages by raising any exception
        raise InvalidRequest(f"the model's chat template rejects calls of functions: {error}") from error
    for form in (TaggedCalls(), BareCalls()):
        if any(_is_probe(form, text) for text in _candidates(form, written)):
            return form
    raise InvalidRequest("the model's chat template writes calls of functions in a form that is not supported")


def _candidates(form: FunctionCallForm, written: str) -> list[str]:
    """Return the texts in a rendered chat that may be a call."""
    if isinstance(form, TaggedCalls):
        return re.findall(r"<tool_call>(.*?)</tool_call>", written, re.DOTALL)
    return [line[line.find("{") : line.rfind("}") + 1] for line in written.splitlines() if _VALUE in line]


def _is_probe(form: FunctionCallForm, text: str) -> bool:
    try:
        return form.read(text) == [CalledFunction(_PROBE, _arguments({"x": _VALUE}))]
    except MalformedCall:
        return False


def _called(call: object) -> CalledFunction:
    if not isinstance(call, dict) or not isinstance(name := call.get("name"), str):
        raise MalformedCall("the call names no function")
    arguments = call.get("arguments", call.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = _parsed(arguments or "{}")
    if not isinstance(arguments, dict):
        raise MalformedCall("the arguments are not an object")
    return CalledFunction(name, _arguments(arguments))


def _parsed(text: str) -> object:
    try:
        return json.loads(text, strict=False, parse_constant=_no_constant)  # models write line breaks in strings
    except (ValueError, RecursionError):
        raise MalformedCall("the call is not valid JSON") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _arguments(arguments: dict[str, Any]) -> str:
    try:
        text = json.dumps(arguments, ensure_ascii=False)
        text.encode()
    except (UnicodeEncodeError, RecursionError):
        raise MalformedCall("the arguments are not valid Unicode, or nest too deeply") from None
    return text

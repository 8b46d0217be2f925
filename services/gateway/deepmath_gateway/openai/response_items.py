"""The items of a response, built from the events of its turn, and OpenAI's events for them."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from deepmath_gateway.openai.tool_activity import code_outputs
from deepmath_gateway.openai.turn_events import (
    CodeEnded,
    CodeStarted,
    FunctionCalled,
    Said,
    Thought,
    TurnEnded,
    TurnEvent,
)

Fields = dict[str, Any]

_PARTS = {"message": "output_text", "reasoning": "reasoning_text"}
_IDS = {"message": "msg", "reasoning": "rs"}


class ResponseItems:
    """The items so far. Text is added to an open item; any other event closes it."""

    def __init__(self) -> None:
        self.items: list[Fields] = []
        self._text: list[str] = []
        self._is_open = False
        self._container = f"cntr_{uuid4().hex}"  # the sandbox of the turn

    def add(self, event: TurnEvent) -> Iterator[Fields]:
        """Add an event, and yield OpenAI's events for it, without their sequence numbers."""
        match event:
            case Said(text=text):
                yield from self._add_text("message", text)
            case Thought(text=text):
                yield from self._add_text("reasoning", text)
            case CodeStarted(code=code):
                yield from self._close()
                yield from self._start_code(code)
            case CodeEnded():
                yield from self._end_code(event)
            case FunctionCalled():
                yield from self._close()
                yield from self._add_call(event)
            case TurnEnded():
                if not any(item["type"] in ("message", "function_call") for item in self.items):
                    yield from self._add_text("message", "")  # clients expect an answer, even an empty one
                yield from self._close()

    def _open(self, item: Fields) -> Fields:
        """Append an item, and return its event."""
        self.items.append(item)
        return {"type": "response.output_item.added", **self._place(), "item": dict(item)}

    def _done(self) -> Fields:
        self.items[-1]["status"] = "completed"
        return {"type": "response.output_item.done", **self._place(), "item": self.items[-1]}

    def _place(self) -> Fields:
        return {"output_index": len(self.items) - 1}

    def _item(self) -> Fields:
        """Return the fields that name the last item in its events."""
        return {"item_id": self.items[-1]["id"], **self._place()}

    def _add_text(self, kind: str, text: str) -> Iterator[Fields]:
        if not (self._is_open and self.items[-1]["type"] == kind):
            yield from self._close()
            item: Fields = {"id": f"{_IDS[kind]}_{uuid4().hex}", "type": kind, "status": "in_progress", "content": []}
            own: Fields = {"role": "assistant"} if kind == "message" else {"summary": []}
            yield self._open(item | own)
            self._is_open, self._text = True, []
            part = self._part(kind, "")
            yield {"type": "response.content_part.added", **self._item(), "content_index": 0, "part": part}
        self._text.append(text)
        delta: Fields = {"type": f"response.{_PARTS[kind]}.delta", **self._item(), "content_index": 0, "delta": text}
        yield delta | ({"logprobs": []} if kind == "message" else {})

    def _close(self) -> Iterator[Fields]:
        """Complete the open item of text."""
        if not self._is_open:
            return
        self._is_open = False
        item, text = self.items[-1], "".join(self._text)
        part = self._part(item["type"], text)
        item["content"] = [part]
        place = {**self._item(), "content_index": 0}
        done: Fields = {"type": f"response.{part['type']}.done", **place, "text": text}
        yield done | ({"logprobs": []} if item["type"] == "message" else {})
        yield {"type": "response.content_part.done", **place, "part": part}
        yield self._done()

    def _part(self, kind: str, text: str) -> Fields:
        part: Fields = {"type": _PARTS[kind], "text": text}
        return part | ({"annotations": [], "logprobs": []} if kind == "message" else {})

    def _start_code(self, code: str) -> Iterator[Fields]:
        item: Fields = {"id": f"ci_{uuid4().hex}", "type": "code_interpreter_call", "status": "in_progress"}
        yield self._open(item | {"code": "", "container_id": self._container, "outputs": None})
        place = self._item()
        yield {"type": "response.code_interpreter_call.in_progress", **place}
        yield {"type": "response.code_interpreter_call_code.delta", **place, "delta": code}
        yield {"type": "response.code_interpreter_call_code.done", **place, "code": code}
        yield {"type": "response.code_interpreter_call.interpreting", **place}
        self.items[-1] |= {"code": code, "status": "interpreting"}

    def _end_code(self, event: CodeEnded) -> Iterator[Fields]:
        self.items[-1]["outputs"] = code_outputs(event)
        yield {"type": "response.code_interpreter_call.completed", **self._item()}
        yield self._done()

    def _add_call(self, call: FunctionCalled) -> Iterator[Fields]:
        item: Fields = {"id": f"fc_{uuid4().hex}", "type": "function_call", "status": "in_progress"}
        yield self._open(item | {"call_id": call.call_id, "name": call.name, "arguments": ""})
        place = self._item()
        yield {"type": "response.function_call_arguments.delta", **place, "delta": call.arguments}
        done = {"type": "response.function_call_arguments.done", **place, "name": call.name}
        yield done | {"arguments": call.arguments}
        self.items[-1]["arguments"] = call.arguments
        yield self._done()

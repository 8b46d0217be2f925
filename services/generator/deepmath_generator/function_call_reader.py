"""Reading of function calls from the text of a turn as it is sampled."""

from collections.abc import Collection, Iterator
from uuid import uuid4

from deepmath.dialects.dialect import MalformedCall
from deepmath.dialects.dialect_parser import CallParser
from deepmath.dialects.function_calls import FunctionCallForm, TaggedCalls
from deepmath.generator.v1 import generator_pb2 as pb

_PYTHON_TAG = "<|python_tag|>"


class FunctionCallReader:
    """Divides a turn into text and calls of the `functions`. A call that cannot be read is text."""

    def __init__(self, form: FunctionCallForm, functions: Collection[str]) -> None:
        self._form, self._functions = form, functions
        self._parser = CallParser(form.marks) if isinstance(form, TaggedCalls) else None
        self._held: list[str] | None = []  # the turn so far, as long as it may be a bare call
        self._start = ""  # of the turn, without white space

    def feed(self, text: str) -> Iterator[pb.ChatResponse]:
        """Yield the texts and calls that are certain after `text`."""
        if self._parser:
            for end in self._parser.ends(text):
                yield from _text(self._parser.take_prose())
                yield from self._read(end.text, "<tool_call>", "</tool_call>")
            yield from _text(self._parser.take_prose())
        elif self._held is not None:
            self._held.append(text)
            if len(self._start) < len(_PYTHON_TAG):
                self._start = (self._start + text).lstrip()
            if not _may_be_bare(self._start):
                yield from self._release()
        else:
            yield from _text(text)

    def end(self) -> Iterator[pb.ChatResponse]:
        """Yield what is left at the end of the turn."""
        if self._parser:
            call = self._parser.end_call()
            yield from _text(self._parser.take_prose())
            if call is not None:  # cut off by a limit, or complete but for its mark
                yield from self._read(call, "<tool_call>", "")
        elif self._held is not None:
            turn, self._held = "".join(self._held), None
            yield from self._read(turn)

    def _release(self) -> Iterator[pb.ChatResponse]:
        text, self._held = "".join(self._held or []), None
        yield from _text(text)

    def _read(self, call: str | None, start: str = "", end: str = "") -> Iterator[pb.ChatResponse]:
        try:
            calls = self._form.read(call or "")
            if any(called.name not in self._functions for called in calls):
                raise MalformedCall("there is no such function")
        except MalformedCall:
            yield from _text(f"{start if call is not None else ''}{call or ''}{end}")
            return
        for called in calls:
            identifier = f"call_{uuid4().hex}"
            yield pb.ChatResponse(
                call=pb.FunctionCall(id=identifier, name=called.name, arguments_json=called.arguments)
            )


def _may_be_bare(start: str) -> bool:
    return not start or start.startswith("{") or start.startswith(_PYTHON_TAG) or _PYTHON_TAG.startswith(start)


def _text(text: str) -> Iterator[pb.ChatResponse]:
    if text:
        yield pb.ChatResponse(text=pb.TextDelta(text=text))

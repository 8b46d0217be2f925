"""Division of a model's turn, as it is generated, into what it thinks and what it says."""

import re
from dataclasses import dataclass
from typing import Literal

from deepmath.dialects.call_marks import CallMarks
from deepmath.dialects.dialect_parser import SPECIAL_TOKEN, CallParser

_START_OF_TOKEN = re.compile(r"<[|/a-z_]*\Z")
_MAX_TOKEN = 64  # characters


@dataclass(frozen=True, slots=True)
class TurnPart:
    """A stretch of a turn, without special tokens."""

    kind: Literal["thought", "said"]
    text: str


class TurnSplitter:
    """Divides text that arrives in pieces, which may be cut anywhere, and leaves out calls.

    A `</think>` outside thinking is dropped.

    Args:
        marks: The marks of calls. None: there are no calls.
        thinking: Whether the turn starts within thinking.
    """

    def __init__(self, marks: CallMarks | None, thinking: bool = False) -> None:
        self._parser = CallParser(marks) if marks else None
        self.thinking = thinking
        self._held = ""  # may be the start of a special token

    @property
    def in_call(self) -> bool:
        """Whether the text so far ends within a call."""
        return self._parser is not None and self._parser.in_call

    def feed(self, text: str) -> list[TurnPart]:
        """Return the parts that are certain after `text`."""
        if self._parser:
            for _ in self._parser.ends(text):
                pass
            text = self._parser.take_prose()
        text = self._held + text
        start = _START_OF_TOKEN.search(text, max(0, len(text) - _MAX_TOKEN))
        self._held = text[start.start() :] if start else ""
        return self._split(text[: start.start()] if start else text)

    def feed_text(self, text: str) -> str:
        """Return the text of the parts that are certain after `text`."""
        return "".join(part.text for part in self.feed(text))

    def end_call(self) -> None:
        """Note that the open call, if it has code, was run although the model did not end it."""
        if self._parser and self._parser.has_code:
            self._parser.end_call()

    def follow(self, *, thinking: bool) -> None:
        """Note that the model continues after an output, maybe within thinking."""
        self.end_call()
        self.thinking = self.thinking or thinking

    def flush(self) -> tuple[list[TurnPart], str]:
        """Return the parts that are left at the end, and the text of a call that the model did not complete."""
        call = (self._parser and self._parser.end_call()) or ""
        text = self._held + (self._parser.take_prose() if self._parser else "")
        self._held = ""
        return self._split(text), call

    def _split(self, text: str) -> list[TurnPart]:
        parts: list[TurnPart] = []
        start = 0
        for token in SPECIAL_TOKEN.finditer(text):
            self._append(parts, text[start : token.start()])
            start = token.end()
            if token[0].endswith("think>"):
                self.thinking = token[0] == "<think>"
        self._append(parts, text[start:])
        return parts

    def _append(self, parts: list[TurnPart], text: str) -> None:
        if text:
            parts.append(TurnPart("thought" if self.thinking else "said", text))

"""Base of the dialects whose outputs are turns of the chat template."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from deepmath.dialects.dialect import Dialect, Message, OutputPiece, Render, TranscriptPart
from deepmath.dialects.output_fence import write_output
from deepmath.dialects.tool_turn import ToolTurn, ToolTurnReader


@dataclass(frozen=True)
class TurnDialect(Dialect):
    """A dialect that shows outputs in the turns that a model's chat template has for tools."""

    turn: ToolTurn | None = None
    """None: not bound to a template; outputs are then written in a fence."""

    ends_of_turn: ClassVar[tuple[str, ...]] = ()
    """Tokens with which the model ends the turn itself, besides the one with which the template ends it."""
    turn_start: ClassVar[str]
    """Regular expression of what the family's templates write before an output."""
    turn_end: ClassVar[str]
    """Regular expression of what they write after it."""

    def bind(self, render: Render) -> Self:
        """Return the dialect with the tool turns of a chat template."""
        return type(self)(ToolTurn.of(render, self.name))

    def output(self, text: str, before: str) -> list[OutputPiece]:
        """Return the output in a turn of the chat template. Text that could be read as the turn's end is broken up."""
        if self.turn is None:
            return [OutputPiece(write_output(text))]
        shown = re.sub(self.turn_end, lambda end: end[0].replace("<", "<\u200b"), text)
        return self.turn.pieces(shown, before, self.ends_of_turn)

    def output_reader(self) -> ToolTurnReader:
        """Return a reader of the family's tool turns."""
        return ToolTurnReader(self.turn_start, self.turn_end)

    def write(self, parts: Sequence[TranscriptPart]) -> str:
        """Return a solution as text, its outputs in fences: there are no turns within a text."""
        return Dialect.write(type(self)(), parts)

    def example_turns(self, question: str, parts: Sequence[TranscriptPart]) -> Iterator[Message]:
        """Yield a solved example, with a turn for each call and each output."""
        yield {"role": "user", "content": question}
        said = ""
        for part in parts:
            match part.kind:
                case "prose":
                    said = part.text.strip()
                case "call":
                    yield self.call_message(said, part.text)
                    said = ""
                case "output":
                    yield {"role": "tool", "name": "python", "content": part.text}
        if said:
            yield {"role": "assistant", "content": said}

    def call_message(self, said: str, code: str) -> Message:
        """Return a turn with a call. The chat template writes its end."""
        return {"role": "assistant", "content": f"{said}\n{self.start}{code}".lstrip("\n")}

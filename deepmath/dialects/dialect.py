"""Dialect: how the models of a family write a call of Python, where it ends, and how its output is shown to them.

The dialects of this package are the only code that writes and parses any of it: for the agent loop, rewards, traces,
reports, cards and chats.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

from deepmath.dialects.call_code import python_source
from deepmath.dialects.call_marks import CallMarks

Message = dict[str, Any]
"""A message of a chat, as chat templates read it."""
Render = Callable[[Sequence[Message]], str]
"""Renders messages by a model's chat template, up to the start of the assistant's next turn."""


class MalformedCall(Exception):
    """A call from which no code can be read. The message tells the model what to write."""


@dataclass(frozen=True, slots=True)
class OutputPiece:
    """A piece of what shows an output to the model."""

    text: str
    is_control: bool = False
    """Written by the chat template: special tokens in it are such tokens. Anywhere else they are plain text."""


@dataclass(frozen=True, slots=True)
class TranscriptPart:
    """A stretch of a transcript."""

    kind: Literal["prose", "call", "output"]
    text: str
    """Without the marks: of a call the code, of an output what the model reads."""


class OutputReader(Protocol):
    """Finds outputs in a finished text."""

    def read(self, text: str, start: int) -> tuple[str, int] | None:
        """Return the output that begins at `start`, after a call, and where the text after it starts."""
        ...


class Dialect(ABC):
    """Form in which a family of models writes calls and reads outputs. Subclasses are the dialects."""

    name: ClassVar[str]
    marks: ClassVar[CallMarks]
    start: ClassVar[str]
    """The text that the model writes before the code."""
    end: ClassVar[str]
    """The text that the model writes after the code."""
    stops_at_token: ClassVar[bool] = True
    """Whether sampling stops at `end`, where the vocabulary has it as one token."""
    examples: ClassVar[Literal["system", "turns"]] = "system"
    """Place of solved examples: in the system text, or as turns of the chat."""
    instructions: ClassVar[str]
    """Instructions for writing a call, as lines of a Markdown list for the system text."""
    tools: ClassVar[Sequence[dict[str, Any]] | None] = None
    """Tools that the chat template is to describe."""

    def bind(self, render: Render) -> Self:
        """Return the dialect for a model with the chat template `render`.

        Raises:
            InvalidRequest: the template lacks what the dialect needs.
        """
        del render
        return self

    @property
    def form(self) -> str:
        """The form of a call, for a message to the model."""
        return f"between {self.start.strip()} and {self.end.strip()}"

    def code(self, call: str) -> str:
        """Return the Python code of the text of a call; empty if there is none.

        Raises:
            MalformedCall: no code can be read from it.
        """
        return python_source(call)

    @abstractmethod
    def write_call(self, code: str) -> str:
        """Return a call as the model writes it."""

    def close_call(self, call: str) -> str:
        """Return what ends a call that the model left open after the text `call`."""
        return self.end if call.endswith("\n") else f"\n{self.end}"

    @abstractmethod
    def output(self, text: str, before: str) -> list[OutputPiece]:
        """Return what shows an output to the model, after a context that ends with `before`."""

    @abstractmethod
    def output_reader(self) -> OutputReader:
        """Return a reader of the outputs in one finished text."""

    def write(self, parts: Sequence[TranscriptPart]) -> str:
        """Return a solution as text."""
        text = ""
        for part in parts:
            match part.kind:
                case "prose":
                    text += part.text
                case "call":
                    text += self.write_call(part.text)
                case "output":
                    text += "".join(piece.text for piece in self.output(part.text, text[-64:]))
        return text

    def example_turns(self, question: str, parts: Sequence[TranscriptPart]) -> Iterator[Message]:
        """Yield a solved example as turns of a chat."""
        yield {"role": "user", "content": question}
        yield {"role": "assistant", "content": self.write(parts).strip()}

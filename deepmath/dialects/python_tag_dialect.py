"""Python after `<|python_tag|>`: the code interpreter of Llama 3.1 and later (Meta's model card, "Tool calling")."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from deepmath.dialects.call_marks import CallMarks
from deepmath.dialects.dialect import Dialect, OutputPiece, Render
from deepmath.dialects.output_fence import write_output
from deepmath.dialects.tool_turn import ToolTurn, ToolTurnReader

_END_OF_TURN = "<|eot_id|>"


@dataclass(frozen=True)
class PythonTagDialect(Dialect):
    """A call is Python from `<|python_tag|>` to the end of the message; its output is a turn of the role `ipython`."""

    turn: ToolTurn | None = None

    name: ClassVar[str] = "python-tag"
    start: ClassVar[str] = "<|python_tag|>"
    end: ClassVar[str] = "<|eom_id|>"
    marks: ClassVar[CallMarks] = CallMarks.tags(start, end, _END_OF_TURN)
    examples: ClassVar[Literal["system", "turns"]] = "turns"
    instructions: ClassVar[str] = (
        "Environment: ipython\n"
        "- To run Python, write <|python_tag|>, then the code, and end the message.\n"
        "- The next message is what the code printed, followed by the value of its last expression."
    )

    def bind(self, render: Render) -> Self:
        """Return the dialect with the tool turns of a chat template."""
        return type(self)(ToolTurn.of(render, self.name))

    def write_call(self, code: str) -> str:
        """Return a call as the model writes it."""
        return f"{self.start}{code}{self.end}"

    def close_call(self, call: str) -> str:
        """Return the end of the message."""
        del call
        return self.end

    def output(self, text: str, before: str) -> list[OutputPiece]:
        """Return the output in a turn of the chat template; in a fence before the dialect is bound to one."""
        return self.turn.pieces(text, before) if self.turn else [OutputPiece(write_output(text))]

    def output_reader(self) -> ToolTurnReader:
        """Return a reader of turns of the role `ipython`."""
        header = r"<\|start_header_id\|>{}<\|end_header_id\|>\n\n"
        return ToolTurnReader(header.format("(?:ipython|tool)"), rf"<\|eot_id\|>{header.format('assistant')}")

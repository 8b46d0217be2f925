"""Python after `<|python_tag|>`: the code interpreter of Llama 3.1 and later (Meta's model card, "Tool calling")."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from deepmath.dialects.call_marks import CallMarks, Mark
from deepmath.dialects.turn_dialect import TurnDialect

_END_OF_TURN = "<|eot_id|>"
_HEADER = "<|start_header_id|>ipython<|end_header_id|>"
_START = Mark.texts("<|python_tag|>")


@dataclass(frozen=True)
class PythonTagDialect(TurnDialect):
    """A call is Python from `<|python_tag|>` to the end of the message; its output is a turn of the role `ipython`.

    The tokens that end a call end messages without a call too. A turn of `ipython` that the model begins is cut off.
    """

    name: ClassVar[str] = "python-tag"
    start: ClassVar[str] = "<|python_tag|>"
    end: ClassVar[str] = "<|eom_id|>"
    marks: ClassVar[CallMarks] = CallMarks.of(
        {"start": _START, "output": Mark.texts(_HEADER)}, {"start": _START, "end": Mark.texts(end, _END_OF_TURN)}
    )
    ends_of_turn: ClassVar[tuple[str, ...]] = (end, _END_OF_TURN)
    turn_start: ClassVar[str] = r"<\|start_header_id\|>(?:ipython|tool)<\|end_header_id\|>\n\n"
    turn_end: ClassVar[str] = r"<\|eot_id\|><\|start_header_id\|>assistant<\|end_header_id\|>\n\n"
    examples: ClassVar[Literal["system", "turns"]] = "turns"
    instructions: ClassVar[str] = (
        "Environment: ipython\n"
        "- To run Python, write <|python_tag|>, then the code, and end the message.\n"
        "- The next message is what the code printed, followed by the value of its last expression."
    )

    def write_call(self, code: str) -> str:
        """Return a call as the model writes it."""
        return f"{self.start}{code}{self.end}"

    def close_call(self, call: str) -> str:
        """Return the end of the message."""
        del call
        return self.end

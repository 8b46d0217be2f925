"""Raw Python in `<tool_call>`: the dialect of DeepMath and of OpenMath-Nemotron."""

from deepmath.dialects.call_marks import CallMarks, Mark
from deepmath.dialects.dialect import Dialect, OutputPiece
from deepmath.dialects.output_fence import OUTPUT_FENCE, OutputFences, write_output

_START, _END = Mark.texts("<tool_call>"), Mark.texts("</tool_call>")


class ToolCallDialect(Dialect):
    """A call is Python between `<tool_call>` and `</tool_call>`; its output follows in a fence.

    An output that the model writes itself is cut off.
    """

    name = "tool-call"
    start, end = "<tool_call>", "</tool_call>"
    marks = CallMarks.of({"start": _START, "end": _END, "output": OUTPUT_FENCE}, {"start": _START, "end": _END})
    instructions = (
        "- Write the code between <tool_call> and </tool_call>, as plain Python without quotes or JSON around it.\n"
        "- After </tool_call> the code is run, and what it printed, followed by the value of its last expression, is "
        "put into your text between ```output and ```. Never write an output yourself."
    )

    def write_call(self, code: str) -> str:
        """Return a call as the model writes it."""
        return f"{self.start}\n{code}\n{self.end}"

    def output(self, text: str, before: str) -> list[OutputPiece]:
        """Return the output in a fence."""
        del before
        return [OutputPiece(write_output(text))]

    def output_reader(self) -> OutputFences:
        """Return a reader of fences."""
        return OutputFences()

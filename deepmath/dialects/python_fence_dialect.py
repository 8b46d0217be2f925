"""A fence of Python, then a fence with its output.

The dialect of ToRA (Gou et al. 2023, arXiv:2309.17452), Qwen2.5-Math, ToRL and DeepSeekMath, and what most models
trained on code write unasked.
"""

from deepmath.dialects.call_marks import CallMarks, Mark
from deepmath.dialects.dialect import Dialect, OutputPiece
from deepmath.dialects.output_fence import FENCE_INDENT, OUTPUT_FENCE, OutputFences, write_output

_START = Mark(
    rf"{FENCE_INDENT}`{{3,8}}[ \t]?(?i:python3?|py3?|ipython3?)[ \t]{{0,8}}\r?\n",
    rf"{FENCE_INDENT}(?:`{{1,8}}|`{{3,8}}[ \t]?[A-Za-z]{{0,7}}3?[ \t]{{0,8}}\r?)?",
)
_END = Mark(f"{FENCE_INDENT}```", f"{FENCE_INDENT}`{{0,2}}")


class PythonFenceDialect(Dialect):
    """A call is a fence of Python; its output follows in another. An output that the model writes itself is cut off.

    A fence in another language is prose. The first line that starts with three backticks ends a call.
    """

    name = "python-fence"
    start, end = "```python\n", "```"
    stops_at_token = False
    examples = "turns"
    marks = CallMarks.of({"start": _START, "output": OUTPUT_FENCE}, {"end": _END})
    instructions = (
        "- Write the code in a fence: a line ```python, the code, and a line ```.\n"
        "- After the fence the code is run, and what it printed, followed by the value of its last expression, is put "
        "into your text between ```output and ```. Never write an output yourself."
    )

    @property
    def form(self) -> str:
        """The form of a call, for a message to the model."""
        return "between a line ```python and a line ```"

    def write_call(self, code: str) -> str:
        """Return a call as the model writes it."""
        return f"```python\n{code}\n```"

    def output(self, text: str, before: str) -> list[OutputPiece]:
        """Return the output in a fence, on a line of its own."""
        fence = write_output(text)
        return [OutputPiece(fence.removeprefix("\n") if before.endswith("\n") else fence)]

    def output_reader(self) -> OutputFences:
        """Return a reader of fences."""
        return OutputFences()

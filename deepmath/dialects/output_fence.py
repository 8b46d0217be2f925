"""Outputs in a fence, as OpenMath-Nemotron, ToRA and Qwen2.5-Math read them.

    ```output
    <standard output, then the value of the last expression>
    ```

The fence is longer than any run of backticks that starts a line of the output, so no output can end it.
"""

import re

from deepmath.dialects.call_marks import Mark

FENCE_INDENT = r"^[ \t]{0,8}"
OUTPUT_FENCE = Mark(
    rf"{FENCE_INDENT}`{{3,8}}[ \t]?(?i:output)[ \t]{{0,8}}\r?\n",
    rf"{FENCE_INDENT}(?:`{{1,8}}|`{{3,8}}[ \t]?[A-Za-z]{{0,6}}[ \t]{{0,8}}\r?)?",
)
"""The start of an output as a model writes it."""

_FENCE = "```"
_BACKTICKS = re.compile(r"^[ \t]*(`{3,})", re.MULTILINE)
_OUTPUT = re.compile(r"\s{0,64}?\n(`{3,})output\n")  # whitespace: the call's last token may hold more than the mark


def write_output(text: str) -> str:
    """Return what follows a call: `text` in an output fence."""
    longest = max(map(len, _BACKTICKS.findall(text)), default=0)
    fence = "`" * (longest + 1) if longest else _FENCE
    return f"\n{fence}output\n{text}\n{fence}\n"


class OutputFences:
    """Finds outputs in a finished text, in time linear in it."""

    def __init__(self) -> None:
        self._unclosed = set[str]()  # fences that do not end in the rest of the text

    def read(self, text: str, start: int) -> tuple[str, int] | None:
        """Return the output that begins at `start`, after a call, and where the text after it starts; None: no output.

        Each call has to have a `start` above that of the last.
        """
        fence = _OUTPUT.match(text, start)
        if fence is None or fence[1] in self._unclosed:
            return None
        end = text.find(f"\n{fence[1]}\n", fence.end() - 1)  # the output may be empty
        if end < 0:
            self._unclosed.add(fence[1])
            return None
        return text[fence.end() : max(end, fence.end())], end + len(fence[1]) + 2

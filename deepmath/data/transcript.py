"""The text form of a trajectory: prose, tool calls in `<tool_call>`, and their outputs in fences.

The only module that writes and parses these marks. A call is Python between `<tool_call>` and `</tool_call>`; the
generator appends its output as

    ```output
    <standard output, then the value of the last expression>
    ```

and everything else is prose.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

TOOL_CALL, END_OF_TOOL_CALL = "<tool_call>", "</tool_call>"
_OUTPUT, _END_OF_OUTPUT = "\n```output\n", "\n```\n"
_CODE_FENCE = "```"
_CALL_AND_OUTPUT = re.compile(
    f"({TOOL_CALL}.*?(?:{END_OF_TOOL_CALL}(?:{_OUTPUT}.*?{_END_OF_OUTPUT})?|" + r"\Z))", re.DOTALL
)
_SPECIAL_TOKEN = re.compile(r"<\|[a-z_]+\|>|</?think>")
_START_OF_SPECIAL_TOKEN = re.compile(r"<[|/a-z_]*$")


@dataclass(frozen=True, slots=True)
class TranscriptPart:
    """A stretch of a transcript."""

    kind: Literal["prose", "call", "output"]
    text: str
    """Without the marks: of a call the code, of an output what the model reads."""


def parse_transcript(text: str) -> Iterator[TranscriptPart]:
    """Yield the parts of `text` in order. An unfinished call extends to the end."""
    for part in _CALL_AND_OUTPUT.split(text):
        if not part.startswith(TOOL_CALL):
            if part:
                yield TranscriptPart("prose", part)
            continue
        call, fence, output = part.partition(_OUTPUT)
        yield TranscriptPart("call", call.removeprefix(TOOL_CALL).partition(END_OF_TOOL_CALL)[0].strip("\n"))
        if fence:
            yield TranscriptPart("output", output.removesuffix(_END_OF_OUTPUT))


def write_call(code: str) -> str:
    """Return a tool call as the model writes it."""
    return f"{TOOL_CALL}\n{code}\n{END_OF_TOOL_CALL}"


def write_output(text: str) -> str:
    """Return what follows a tool call: `text` in an output fence."""
    return f"{_OUTPUT}{text}{_END_OF_OUTPUT}"


def called_code(step: str) -> str | None:
    """Return the Python source of the tool call at the end of `step`, or None if it ends with no call.

    A code fence (```python) within the call is removed.
    """
    if not step.endswith(END_OF_TOOL_CALL) or TOOL_CALL not in step:
        return None
    code = step.removesuffix(END_OF_TOOL_CALL).rpartition(TOOL_CALL)[2].strip("\n")
    lines = code.strip().splitlines()
    if len(lines) >= 2 and lines[0].startswith(_CODE_FENCE) and lines[-1] == _CODE_FENCE:
        return "\n".join(lines[1:-1])
    return code


def without_calls(step: str) -> str:
    """Return the prose of one step of the model: `step` without its tool calls."""
    prose, *calls = step.split(TOOL_CALL)
    return prose + "".join(call.partition(END_OF_TOOL_CALL)[2] for call in calls)


def without_special_tokens(text: str) -> str:
    """Return `text` without tokens such as `<|im_end|>` and `</think>`."""
    return _SPECIAL_TOKEN.sub("", text)


class ProseStream:
    """Extracts the prose from text that arrives in pieces, which may be cut anywhere."""

    def __init__(self) -> None:
        self._held = ""
        self._in_call = False

    def feed(self, delta: str) -> str:
        """Return the prose that is certain after `delta`, without special tokens."""
        self._held += delta
        certain = ""
        while True:
            mark = END_OF_TOOL_CALL if self._in_call else TOOL_CALL
            before, found, after = self._held.partition(mark)
            if not found:
                break
            certain += "" if self._in_call else before
            self._held, self._in_call = after, not self._in_call
        keep = _undecided(self._held, mark)
        certain += "" if self._in_call else self._held[: len(self._held) - keep]
        self._held = self._held[len(self._held) - keep :]
        return without_special_tokens(certain)


def _undecided(text: str, mark: str) -> int:
    """Return how many characters at the end of `text` may be the start of `mark` or of a special token."""
    longest = next((n for n in range(min(len(text), len(mark) - 1), 0, -1) if mark.startswith(text[-n:])), 0)
    special = _START_OF_SPECIAL_TOKEN.search(text)
    return max(longest, len(special.group()) if special else 0)

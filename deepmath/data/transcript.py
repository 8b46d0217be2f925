"""The text form of a trajectory: prose, tool calls in `<tool_call>`, and their outputs in fences.

The only module that writes and parses these marks. A call is Python between `<tool_call>` and `</tool_call>`; the
generator appends its output as

    ```output
    <standard output, then the value of the last expression>
    ```

and everything else is prose. The fence is longer than any run of backticks that starts a line of the output, so no
output can end it.

`CallParser` decides what a model called and what it said: it reads the model's text only, never an output, and in
pieces that are cut anywhere. `parse_transcript` divides a finished text, outputs included, for reading. Everything here
takes time linear in the text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

TOOL_CALL, END_OF_TOOL_CALL = "<tool_call>", "</tool_call>"
_MARK = re.compile(f"{TOOL_CALL}|{END_OF_TOOL_CALL}")
_FENCE = "```"
_BACKTICKS = re.compile(r"^[ \t]*(`{3,})", re.MULTILINE)
_OUTPUT = re.compile(r"\s{0,64}?\n(`{3,})output\n")  # whitespace: the call's last token may hold more than the mark
_THINKING = re.compile("<think>|</think>")
_SPECIAL_TOKEN = re.compile(r"<\|[a-z_]+\|>|</?think>")
_START_OF_SPECIAL_TOKEN = re.compile(r"<[|/a-z_]*\Z")
_MAX_SPECIAL_TOKEN = 64  # characters


@dataclass(frozen=True, slots=True)
class TranscriptPart:
    """A stretch of a transcript."""

    kind: Literal["prose", "call", "output"]
    text: str
    """Without the marks: of a call the code, of an output what the model reads."""


@dataclass(frozen=True, slots=True)
class EndOfCall:
    """The end of a call within a piece of text."""

    offset: int
    """Number of characters of the piece up to and including `</tool_call>`."""
    text: str | None
    """The text between the marks. None: `</tool_call>` without a `<tool_call>` before it."""


class CallParser:
    """Divides the text that a model writes in one trajectory into prose and calls, wherever it is cut.

    The first `</tool_call>` ends a call, whatever precedes it. A `<tool_call>` within a call is part of its text, but a
    duplicate, with only whitespace before it, is dropped.
    """

    def __init__(self) -> None:
        self.length = 0
        """Number of characters read."""
        self._prose: list[list[str]] = [[]]  # a list of pieces for each stretch between calls
        self._call: list[str] | None = None  # pieces of the open call
        self._is_blank = True  # the open call has only whitespace
        self._held = ""  # the end of the text so far, if it may be the start of a mark

    @property
    def prose(self) -> str:
        """The text outside calls so far, with a newline in the place of each call."""
        return "\n".join(map("".join, self._prose)) + ("" if self.in_call else self._held)

    @property
    def in_call(self) -> bool:
        """Whether a call is open."""
        return self._call is not None

    @property
    def is_open(self) -> bool:
        """Whether the text so far ends within a call, or within what may be the mark that starts or ends one."""
        return self.in_call or bool(self._held)

    @property
    def has_code(self) -> bool:
        """Whether a call is open and has more than whitespace so far."""
        return self.in_call and not (self._is_blank and not self._held.strip())

    @property
    def is_undecided(self) -> bool:
        """Whether the text so far ends within what may be a mark."""
        return bool(self._held)

    def ends(self, text: str) -> Iterator[EndOfCall]:
        """Read `text` and yield the ends of calls in it. Text after an end is read when the next is requested."""
        self.length += len(text)
        before, buffer, start = len(self._held), self._held + text, 0
        self._held = ""
        while mark := _MARK.search(buffer, start):
            self._add(buffer[start : mark.start()])
            start = mark.end()
            if mark[0] == END_OF_TOOL_CALL:
                yield EndOfCall(start - before, self._close())
            else:
                self._open()
        certain = _certain(buffer, start)
        self._add(buffer[start:certain])
        self._held = buffer[certain:]

    def end_call(self) -> str | None:
        """End the open call as if `</tool_call>` followed, and return its text; None if no call is open."""
        held, self._held = self._held, ""
        self._add(held)
        return self._close() if self.in_call else None

    def take_prose(self) -> str:
        """Return the prose since the last time that is certain not to be part of a mark, without newlines for calls."""
        taken, self._prose = "".join(map("".join, self._prose)), [[]]
        return taken

    def _add(self, text: str) -> None:
        if self._call is None:
            self._prose[-1].append(text)
        else:
            self._call.append(text)
            self._is_blank = self._is_blank and not text.strip()

    def _open(self) -> None:
        if self._call is None or self._is_blank:
            self._call, self._is_blank = [], True
        else:
            self._call.append(TOOL_CALL)

    def _close(self) -> str | None:
        call, self._call = self._call, None
        self._prose.append([])
        return None if call is None else "".join(call)


class ProseStream:
    """Extracts the prose from text that arrives in pieces, which may be cut anywhere."""

    def __init__(self) -> None:
        self._parser = CallParser()
        self._held = ""  # may be the start of a special token

    def feed(self, delta: str) -> str:
        """Return the prose that is certain after `delta`, without special tokens."""
        for _ in self._parser.ends(delta):
            pass
        prose = self._held + self._parser.take_prose()
        start = _START_OF_SPECIAL_TOKEN.search(prose, max(0, len(prose) - _MAX_SPECIAL_TOKEN))
        certain = start.start() if start else len(prose)
        self._held = prose[certain:]
        return without_special_tokens(prose[:certain])

    def end_call(self) -> None:
        """Note that the open call, if it has code, was run although the model did not end it."""
        if self._parser.has_code:
            self._parser.end_call()


def parse_transcript(text: str) -> Iterator[TranscriptPart]:
    """Yield the parts of `text` in order. An unfinished call extends to the end."""
    prose = 0  # the start of the current stretch of prose
    unclosed = set[str]()  # fences that do not end in the rest of the text
    while (mark := text.find(TOOL_CALL, prose)) >= 0:
        if mark > prose:
            yield TranscriptPart("prose", text[prose:mark])
        code = mark + len(TOOL_CALL)
        end = text.find(END_OF_TOOL_CALL, code)
        yield TranscriptPart("call", text[code : end if end >= 0 else None].strip("\n"))
        if end < 0:
            return
        prose = end + len(END_OF_TOOL_CALL)
        fence = _OUTPUT.match(text, prose)
        if fence is None or fence[1] in unclosed:
            continue
        end = text.find(f"\n{fence[1]}\n", fence.end() - 1)  # the output may be empty
        if end < 0:
            unclosed.add(fence[1])
            continue
        yield TranscriptPart("output", text[fence.end() : max(end, fence.end())])
        prose = end + len(fence[1]) + 2
    if prose < len(text):
        yield TranscriptPart("prose", text[prose:])


def write_call(code: str) -> str:
    """Return a tool call as the model writes it."""
    return f"{TOOL_CALL}\n{code}\n{END_OF_TOOL_CALL}"


def write_output(text: str) -> str:
    """Return what follows a tool call: `text` in an output fence."""
    longest = max(map(len, _BACKTICKS.findall(text)), default=0)
    fence = "`" * (longest + 1) if longest else _FENCE
    return f"\n{fence}output\n{text}\n{fence}\n"


def outside_thinking(prose: str, thinking: bool) -> str:
    """Return `prose` without its thinking, from `<think>` to `</think>` or to the end.

    With `thinking` it starts within thinking. A `</think>` elsewhere ends thinking whose start is not in the text.
    """
    said: list[str] = []
    start = 0
    for mark in _THINKING.finditer(prose):
        if mark[0] == "</think>":
            said = said if thinking else []
            thinking, start = False, mark.end()
        elif not thinking:
            said.append(prose[start : mark.start()])
            thinking = True
    return "".join(said) + ("" if thinking else prose[start:])


def without_special_tokens(text: str) -> str:
    """Return `text` without tokens such as `<|im_end|>` and `</think>`."""
    return _SPECIAL_TOKEN.sub("", text)


def _certain(text: str, start: int) -> int:
    """Return where the end of `text` starts that may be the start of a mark; both marks have one `<`, their first."""
    tail = text.rfind("<", max(start, len(text) - len(END_OF_TOOL_CALL) + 1))
    may_be_mark = tail >= 0 and any(mark.startswith(text[tail:]) for mark in (TOOL_CALL, END_OF_TOOL_CALL))
    return tail if may_be_mark else len(text)

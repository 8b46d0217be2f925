"""Parser of the text that a model writes: what it called, and what it said.

It reads the model's text only, never an output, and in pieces that are cut anywhere. It takes time linear in the text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deepmath.dialects.call_marks import MAX_MARK_CHARACTERS, CallMarks

SPECIAL_TOKEN = re.compile(r"<\|[a-z_]+\|>|</?think>")
_THINKING = re.compile("<think>|</think>")


@dataclass(frozen=True, slots=True)
class EndOfCall:
    """The end of a call within a piece of text."""

    offset: int
    """Number of characters of the piece up to and including the mark that ends the call."""
    text: str | None
    """The text between the marks. None: no call is open."""
    cut: int | None = None
    """If the model began to write an output itself: the number of characters of the piece before it. It may be
    negative, if the mark began in an earlier piece. Of an open call an output is only seen if it begins in this piece.
    """


class CallParser:
    """Divides the text that a model writes in one trajectory into prose and calls, wherever it is cut.

    The first end mark ends a call, whatever precedes it. A start mark within a call is part of its text, but a
    duplicate, with only whitespace before it, is dropped. Where the text is cut changes only `EndOfCall.cut`.
    """

    def __init__(self, marks: CallMarks) -> None:
        self.length = 0
        """Number of characters read."""
        self._marks = marks
        self._prose: list[list[str]] = [[]]  # a list of pieces for each stretch between calls
        self._call: list[str] | None = None  # pieces of the open call
        self._is_blank = True  # the open call has only whitespace
        self._last = "\n"  # the character before the held text
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
        before, buffer, start = 1 + len(self._held), self._last + self._held + text, 1
        self._held = ""
        while mark := (self._marks.in_call if self.in_call else self._marks.in_prose).search(buffer, start):
            self._add(buffer[start : mark.start()])
            start = mark.end()
            self._last = mark[0][-1]
            match mark.lastgroup:
                case "start":
                    self._open(mark[0])
                case "end":
                    output = self._marks.in_prose.match(buffer, mark.start())
                    yield EndOfCall(start - before, self._close(), _cut(output, before))
                case _:
                    yield EndOfCall(start - before, self._close(), _cut(mark, before))
        certain = self._certain(buffer, start)
        self._add(buffer[start:certain])
        self._last, self._held = buffer[certain - 1], buffer[certain:]

    def end_call(self) -> str | None:
        """End the open call as if its end mark followed, and return its text; None if no call is open."""
        held, self._held = self._held, ""
        self._add(held)
        return self._close() if self.in_call else None

    def follow(self, text: str) -> None:
        """Note that the model continues after `text`, which it did not write."""
        if not self._held:
            self._last = text[-1:] or self._last
        if text.rstrip().endswith("<think>"):
            self._prose[-1].append("<think>")

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to forget all that is read from now on."""
        call = None if self._call is None else [*self._call]
        return vars(self) | {"_prose": [[*stretch] for stretch in self._prose], "_call": call}

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state, which remains valid."""
        vars(self).update(state)
        vars(self).update(self.state())  # `state` is not changed by further reading

    def take_prose(self) -> str:
        """Return the prose since the last time that is certain not to be part of a mark, without newlines for calls."""
        taken, self._prose = "".join(map("".join, self._prose)), [[]]
        return taken

    def _certain(self, buffer: str, start: int) -> int:
        """Return where the end of `buffer` starts that may be the start of a mark."""
        partial = self._marks.partial_in_call if self.in_call else self._marks.partial_in_prose
        tail = partial.search(buffer, max(start, len(buffer) - MAX_MARK_CHARACTERS))
        return tail.start() if tail else len(buffer)

    def _add(self, text: str) -> None:
        if self._call is None:
            self._prose[-1].append(text)
        else:
            self._call.append(text)
            self._is_blank = self._is_blank and not text.strip()

    def _open(self, mark: str) -> None:
        if self._call is None or self._is_blank:
            self._call, self._is_blank = [], True
        else:
            self._call.append(mark)

    def _close(self) -> str | None:
        call, self._call = self._call, None
        self._prose.append([])
        return None if call is None else "".join(call)


def _cut(output: re.Match[str] | None, before: int) -> int | None:
    if output is None or output.lastgroup != "output":
        return None
    indent = len(output[0]) - len(output[0].lstrip(" \t"))
    return output.start() + indent - before


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
    return SPECIAL_TOKEN.sub("", text)

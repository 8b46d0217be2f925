"""Marks of calls in a model's text, as regular expressions.

Each pattern has one group for each kind of mark, of which one matches: `start` and `end` of a call, and `output`, the
start of an output that the model wrote itself. `^` matches at a line's start only: a parser searches with the character
before in sight.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CallMarks:
    """The marks of one dialect. Each pattern takes time linear in the text."""

    in_prose: re.Pattern[str]
    """Matches the marks outside calls."""
    in_call: re.Pattern[str]
    """Matches the marks within a call."""
    partial_in_prose: re.Pattern[str]
    r"""Matches, up to `\Z`, what may be the start of a mark outside calls."""
    partial_in_call: re.Pattern[str]
    longest: int
    """Maximum number of characters that a partial pattern matches."""

    @classmethod
    def tags(cls, start: str, *ends: str) -> "CallMarks":
        """Return the marks of calls between literal texts. The first character of each occurs in it only there."""
        end = "|".join(map(re.escape, ends))
        marks = re.compile(f"(?P<start>{re.escape(start)})|(?P<end>{end})")
        partial = re.compile(rf"(?:{'|'.join(_prefixes((start, *ends)))})\Z")
        return cls(marks, marks, partial, partial, max(map(len, (start, *ends))))


def _prefixes(marks: Sequence[str]) -> list[str]:
    found = {mark[:length] for mark in marks for length in range(1, len(mark))}
    return [re.escape(prefix) for prefix in sorted(found, key=len, reverse=True)]

r"""Marks of calls in a model's text, as regular expressions.

There are three kinds: `start` and `end` of a call, and `output`, the start of an output that the model writes itself.
`^` matches at a line's start only: a parser searches with the character before in sight.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MAX_MARK_CHARACTERS = 64

Kind = Literal["start", "end", "output"]


@dataclass(frozen=True)
class Mark:
    r"""Regular expressions, without groups that capture. No mark contains another.

    Each takes time linear in the text and matches at most `MAX_MARK_CHARACTERS`.
    """

    whole: str
    """Matches the mark."""
    partial: str
    """Matches whatever may become the mark with further text."""

    @classmethod
    def texts(cls, *texts: str) -> "Mark":
        """Return the mark that is any of `texts`.

        Raises:
            ValueError: there is none, or one is empty or too long.
        """
        if not texts or not all(0 < len(text) <= MAX_MARK_CHARACTERS for text in texts):
            raise ValueError(f"marks {texts}: they need 1 to {MAX_MARK_CHARACTERS} characters each")
        prefixes = {text[:length] for text in texts for length in range(1, len(text))}
        longest_first = sorted(prefixes, key=lambda text: (-len(text), text))
        return cls("|".join(map(re.escape, texts)), "|".join(map(re.escape, longest_first)) or r"(?!)")


@dataclass(frozen=True)
class CallMarks:
    """The marks of one dialect. The name of the group that matches is the kind of the mark."""

    in_prose: re.Pattern[str]
    """Matches the marks outside calls."""
    in_call: re.Pattern[str]
    """Matches the marks within a call."""
    partial_in_prose: re.Pattern[str]
    r"""Matches, up to `\Z`, what may be the start of a mark outside calls."""
    partial_in_call: re.Pattern[str]

    @classmethod
    def of(cls, in_prose: Mapping[Kind, Mark], in_call: Mapping[Kind, Mark]) -> "CallMarks":
        """Return the marks that are looked for outside calls, and those within."""
        return cls(_whole(in_prose), _whole(in_call), _partial(in_prose), _partial(in_call))

    @classmethod
    def tags(cls, start: str, *ends: str) -> "CallMarks":
        """Return the marks of calls between literal texts."""
        marks: dict[Kind, Mark] = {"start": Mark.texts(start), "end": Mark.texts(*ends)}
        return cls.of(marks, marks)


def _whole(marks: Mapping[Kind, Mark]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<{kind}>{mark.whole})" for kind, mark in marks.items()), re.MULTILINE)


def _partial(marks: Mapping[Kind, Mark]) -> re.Pattern[str]:
    return re.compile(rf"(?:{'|'.join(mark.partial for mark in marks.values())})\Z", re.MULTILINE)

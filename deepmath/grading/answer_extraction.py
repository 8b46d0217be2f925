r"""Extraction of the final answer, the last `\boxed{...}` or `\fbox{...}`, from a model's text.

One pass over the text pairs all braces, so the time is linear in its length, however many boxes are never closed.
Escaped braces, as in `\left\{ x > 0 \right.`, need no partner.
"""

import re
from collections.abc import Mapping

MAX_BOX_CHARACTERS = 10_000
"""A longer answer is cut to this length, which is still longer than any answer that is graded."""

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[{}]", re.DOTALL)
_NAMES = ("\\boxed", "\\fbox")
_MOST_NESTED = 8
_SPACE = re.compile(r"\s*")
# The argument of a box without braces: \boxed 6, \boxed 3/4, \boxed\pi. In TeX it is a single token; no one boxes only
# the 4 of \boxed 42.
_BARE = re.compile(r"-?\d{1,100}(?:[.,/]\d{1,100}){0,20}|[A-Za-z](?![A-Za-z])|\\[A-Za-z]+")


def extract_boxed(text: str) -> str:
    r"""Return the content of the last complete box in `text`, or "" if there is none.

    The outermost of nested boxes counts. White space, also a line break, may precede the brace.
    """
    partners: dict[int, int] = {}
    unclosed: list[int] = []
    boxes: list[int] = []
    for token in _TOKEN.finditer(text):
        if token[0] == "{":
            unclosed.append(token.start())
        elif token[0] == "}" and unclosed:
            partners[unclosed.pop()] = token.start()
        elif token[0] in _NAMES:
            boxes.append(token.end())
    spans = (span for end in boxes if (span := _argument(text, end, partners)))
    last = (0, 0)
    for span in spans:
        if span[0] >= last[1]:  # not nested in the one before
            last = span
    return _unwrap(text[slice(*last)].strip()[:MAX_BOX_CHARACTERS])


def _argument(text: str, end: int, partners: Mapping[int, int]) -> tuple[int, int] | None:
    """Return the span of the argument of the box whose name ends at `end`, or None if it is never closed."""
    start = _skip_space(text, end)
    if text[start : start + 1] == "{":
        return (start + 1, partners[start]) if start in partners else None
    if not (bare := _BARE.match(text, start)):
        return None
    stop = bare.end()
    while bare[0].startswith("\\") and stop in partners:  # \boxed\frac{1}{2}
        stop = partners[stop] + 1
    return start, stop


def _skip_space(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    return found.end() if found else start


def _unwrap(content: str) -> str:
    r"""Return the content of boxes that hold nothing but another box, `\boxed{\boxed{5}}`."""
    for _ in range(_MOST_NESTED):
        name, brace, inner = content.partition("{")
        if not brace or name.rstrip() not in _NAMES or not _closes_at_end(inner):
            break
        content = inner[:-1].strip()
    return content


def _closes_at_end(text: str) -> bool:
    """Return whether the brace before `text` is closed by its last character."""
    depth = 1
    for token in _TOKEN.finditer(text):
        depth += (token[0] == "{") - (token[0] == "}")
        if depth == 0:
            return token.end() == len(text)
    return False

r"""The tokens of a question: words, numbers and symbols without what changes only its looks.

Case, spaces, dollar signs, braces, prose punctuation, LaTeX's spacing and sizing commands and the Unicode forms of
symbols leave no trace: `$\dfrac{1}{2}\, x$` and `\(\frac 1 2 x\)` have the same tokens. Every digit, sign and letter
does, so that a question with another number has other tokens.
"""

import hashlib
import re

from deepmath.grading.answer_spelling import respell

_TOKEN = re.compile(r"\\[^\W\d_]+|\\\S|\d+(?:\.\d+)?|[^\W\d_]+|[^\w\s]|_")
_SHORT_FRACTION = re.compile(r"(\\[dt]?frac)\s*(\d)\s*(\d)")
_NUMBER = re.compile(r"\d")
# Commas stand between digits too, where the digits stay apart: 1,2 is not 12.
_DROPPED = frozenset('$ , . ; ? " { } ~ ` \\ \\( \\) \\[ \\] \\, \\; \\: \\! \\\\'.split()) | frozenset(
    rf"\{command}"
    for command in "left right big Big bigg Bigg bigl bigr Bigl Bigr quad qquad displaystyle textstyle limits "
    "text textrm textbf textit mathrm mathit mathbf rm bf it mbox hspace noindent par".split()
)
_SAME = {r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\leq": r"\le", r"\geq": r"\ge", r"\neq": r"\ne", r"\%": "%",
         r"\leqslant": r"\le", r"\geqslant": r"\ge", r"\ast": "*", r"\lt": "<", r"\gt": ">"}  # fmt: skip


def question_tokens(text: str) -> list[str]:
    """Return the tokens of `text`. The time is linear in its length."""
    spelled = _SHORT_FRACTION.sub(r"\1 \2 \3", respell(text))
    found = (_SAME.get(token, token) for token in _TOKEN.findall(spelled))
    return [token if token.startswith("\\") else token.casefold() for token in found if token not in _DROPPED]


def is_number(token: str) -> bool:
    """Return whether `token` is a number."""
    return _NUMBER.match(token) is not None


def question_key(tokens: list[str]) -> bytes:
    """Return a digest of 16 bytes, the same for questions with the same tokens."""
    return hashlib.blake2b("\x00".join(tokens).encode("utf-8", "surrogatepass"), digest_size=16).digest()

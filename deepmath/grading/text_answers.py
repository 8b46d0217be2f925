"""Answers that are words, such as `Yes` or `no solution`, rather than mathematics."""

import re
from typing import NamedTuple

from deepmath.grading.answer_normalization import TEXT_MACRO, normalize

_WORDS = re.compile(r"\(?([A-Za-z][A-Za-z '-]*)\)?")
_SHORTEST_WORD = 5  # letters from which a lower-case word is no longer read as a product of variables


class TextAnswer(NamedTuple):
    """The letters of an answer in words."""

    letters: str
    """In lower case, without spaces and punctuation; "" if the answer is not words."""
    is_certain: bool
    r"""Whether the letters cannot be a product of variables: they are in \text{}, capitalized, or many.

    `xy` equals `yx`, but `SAS` does not equal `SSA`.
    """


def text_answer(answer: str) -> TextAnswer:
    """Return the letters of `answer` if it consists of words."""
    text = normalize(answer)
    wrapped = re.fullmatch(rf"{TEXT_MACRO}\{{([^{{}}]*)\}}", text)
    found = _WORDS.fullmatch((wrapped[1] if wrapped else text).strip(" .!"))
    if not found or len(found[1]) < 2:
        return TextAnswer("", False)
    letters = re.sub(r"[^A-Za-z]", "", found[1])
    longest_word = max(map(len, found[1].split()))
    is_certain = bool(wrapped) or letters != letters.lower() or longest_word >= _SHORTEST_WORD
    return TextAnswer(letters.casefold(), is_certain)

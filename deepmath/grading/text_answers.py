"""Answers that are words, such as `Yes` or `no solution`, rather than mathematics."""

import re
from typing import NamedTuple

from deepmath.grading.answer_normalization import TEXT_MACRO, normalize

_WORDS = re.compile(r"\(?([A-Za-z][A-Za-z '-]*)\)?")
_SHORTEST_WORD = 5  # letters from which a lower-case word is no longer read as a product of variables
_MACRO = re.compile(TEXT_MACRO)
_WRAPPED = re.compile(rf"{TEXT_MACRO}\{{([^{{}}]*)\}}")
_ARTICLE = re.compile(r"\b(?:an?|the) ")
_ORDINAL = re.compile(r"(?<=\d)(?:st|nd|rd|th)(?![A-Za-z])")
_ORDINAL_NUMBER = re.compile(r"(\d{1,9})\^?(?:st|nd|rd|th)")
_PUNCTUATION = re.compile(r"[{}\s,;!?'\"~]|\\(?![A-Za-z])|\.(?!\d)")
_LONG_WORD = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{2,}")
_CHOICE = re.compile(rf"(?:{TEXT_MACRO})?\{{?\(?([A-J])\)?(?:[.:)]|\\?\s|\}})*(.*)", re.DOTALL)
_TIME = re.compile(
    rf"(\d{{1,2}})(?::|\{{:\}})(\d\d)\s*(?:(?:{TEXT_MACRO}\{{)?\s*([AaPp])\.?\s*[Mm]\.?\s*\}}?)?", re.DOTALL
)
_SYNONYMS = {
    "doesnotexist": "dne",
    "nosolutions": "nosolution",
    "therearenosolutions": "nosolution",
    "thereisnosolution": "nosolution",
    "infinitelymanysolutions": "infinitelymany",
    "infinite": "infinitelymany",
}
# Words that have a meaning in mathematics.
_MATHEMATICS = frozenset(
    "infinity oo inf infty pi integers reals naturals allrealnumbers allreals realnumbers allintegers".split()
)
_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        """
        zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
        eighteen nineteen twenty
        """.split()
    )
}


class TextAnswer(NamedTuple):
    """The letters of an answer in words."""

    letters: str
    """In lower case, without spaces and punctuation; "" if the answer is not words."""
    is_certain: bool
    r"""Whether the letters cannot be a product of variables: they are in \text{}, capitalized, or many.

    `xy` equals `yx`, but `SAS` does not equal `SSA`.
    """


class TimeOfDay(NamedTuple):
    """A time as on a clock."""

    hour: int
    minute: int
    half: str
    """`a` before noon, `p` after noon, or "" if that is left out."""


def text_answer(answer: str) -> TextAnswer:
    """Return the letters of `answer` if it consists of words."""
    text = normalize(answer)
    wrapped = _WRAPPED.fullmatch(text)
    found = _WORDS.fullmatch((wrapped[1] if wrapped else text).strip(" .!"))
    if not found or len(found[1]) < 2:
        return TextAnswer("", False)
    words = _ARTICLE.sub("", f"{found[1]} ".casefold())
    letters = re.sub(r"[^A-Za-z]", "", found[1])
    longest_word = max(map(len, found[1].split()))
    is_certain = bool(wrapped) or letters != letters.lower() or longest_word >= _SHORTEST_WORD
    key = re.sub(r"[^a-z]", "", words)
    if key in _MATHEMATICS:
        return TextAnswer("", False)
    return TextAnswer(_SYNONYMS.get(key, key), is_certain)


def plain_text(answer: str) -> str:
    """Return the characters that count in an answer with words: without macros, spaces, articles and punctuation."""
    text = _MACRO.sub(" ", normalize(answer)).casefold()
    return _PUNCTUATION.sub("", _ORDINAL.sub("", _ARTICLE.sub("", f"{text} ")))


def has_words(answer: str) -> bool:
    r"""Return whether `answer` contains words: letters in \text{} or several letters in a row."""
    text = normalize(answer)
    return bool(_MACRO.search(text) or _LONG_WORD.search(text))


def number_word(text: str) -> str:
    """Return the digits of a number in words up to twenty, or `text`."""
    return _NUMBERS.get(text_answer(text).letters, text)


def ordinal(answer: str) -> str:
    """Return the digits of an ordinal number, 7th, or an empty text."""
    found = _ORDINAL_NUMBER.fullmatch(re.sub(r"[{} ]", "", _MACRO.sub("", normalize(answer))).removeprefix("the"))
    return found[1] if found else ""


def choice_letter(answer: str) -> tuple[str, str]:
    """Return the letter and the rest of a choice such as (B) 12; two empty texts if it is none."""
    text = normalize(answer)
    found = _CHOICE.fullmatch(text)
    if not found:
        return "", ""
    bare = re.fullmatch(r"[A-J]", text.strip("(){} ."))
    marked = re.match(rf"(?:{TEXT_MACRO}\{{)?\(?[A-J](?:\)|\.(?!\d)|:)", text)
    return (found[1], found[2].strip()) if bare or marked else ("", "")


def same_time(one: TimeOfDay, other: TimeOfDay) -> bool:
    """Return whether two times are equal; one may leave out the half of the day."""
    if not one.half or not other.half:
        return one[:2] == other[:2]
    return one == other


def time_of_day(answer: str) -> TimeOfDay | None:
    """Return the time if `answer` is one: 3:05, 3:05 p.m."""
    text = normalize(answer)
    unwrapped = _WRAPPED.fullmatch(text)
    found = _TIME.fullmatch((unwrapped[1] if unwrapped else text).strip())
    if not found or int(found[1]) > 24 or int(found[2]) > 59:
        return None
    return TimeOfDay(int(found[1]), int(found[2]), (found[3] or "").lower())

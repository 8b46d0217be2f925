"""Comparison of answers as far as exact arithmetic and text go.

Model-written text is only parsed into our own trees, and evaluated with integers of a bounded size, so this runs in the
caller's process. It decides nearly all comparisons for most datasets.
"""

import re

from deepmath.grading.answer_equality import AnswerEquality
from deepmath.grading.answer_nodes import Constant, Node, Number, Operation
from deepmath.grading.answer_normalization import MAX_CHARACTERS as MAX_CHARACTERS
from deepmath.grading.answer_normalization import canonical_form, normalize
from deepmath.grading.answer_parser import parse_answer
from deepmath.grading.exact_arithmetic import ExactArithmetic
from deepmath.grading.expression_equality import ExpressionEquality
from deepmath.grading.measured_quantity import MeasuredText, conversion, split_unit
from deepmath.grading.text_answers import (
    choice_letter,
    has_words,
    number_word,
    ordinal,
    plain_text,
    same_time,
    text_answer,
    time_of_day,
)

# Mathematics that our grammar leaves to a library.
_CALCULUS = re.compile(r"\\(?:i*nt|oint|lim|sum|prod|frac\s*\{\s*(?:d|\\partial)\s*\})|\\infty\s*\}")
_EMPTY = "nosolution"


def compare_exactly(gold: str, answer: str) -> bool | None:
    """Return whether `answer` equals `gold`, or None if that takes more than exact arithmetic.

    None is also the result for a gold answer that is too long or that cannot be read.
    """
    gold, answer = gold.strip(), answer.strip()
    if not answer:
        return False
    if gold == answer:
        return True
    if len(gold) > MAX_CHARACTERS:
        return None
    if len(answer) > MAX_CHARACTERS:
        return False
    if canonical_form(gold) == canonical_form(answer):
        return True
    same = _compare_words(gold, answer)
    return _compare_trees(split_unit(gold), split_unit(answer), gold, answer) if same is None else same


def is_comparable(gold: str) -> bool | None:
    """Return whether answers can be compared with `gold`, or None if only a symbolic parser can tell."""
    if not gold.strip() or len(gold.strip()) > MAX_CHARACTERS:
        return False
    if _parse(split_unit(gold)) is not None or _is_text(gold):
        return True
    return None if _CALCULUS.search(gold) else False


def _compare_words(gold: str, answer: str) -> bool | None:
    """Compare words, choices and times of day; None if one of them is no text."""
    words, other = text_answer(gold), text_answer(answer)
    if words.letters and other.letters and (words.is_certain or other.is_certain):
        return words.letters == other.letters
    times = time_of_day(gold), time_of_day(answer)
    if times[0] and times[1]:
        return same_time(times[0], times[1])
    ordinals = ordinal(gold), ordinal(answer)
    if all(ordinals):
        return ordinals[0] == ordinals[1]
    letter, rest = choice_letter(gold)
    other_letter, other_rest = choice_letter(answer)
    if letter and other_letter and (rest or other_rest):
        return letter == other_letter and (not rest or not other_rest or compare_exactly(rest, other_rest) is not False)
    return None


def _compare_trees(expected: MeasuredText, given: MeasuredText, gold: str, answer: str) -> bool | None:
    factor = None
    if expected.unit and given.unit and expected.unit != given.unit:
        factor = conversion(expected.unit, given.unit)
        if factor is None:
            return False
    one, other = _parse(expected), _parse(given)
    if one is None or other is None:
        return _compare_unread(one, other, gold, answer)
    if factor is not None:
        one = Operation("multiply", (Number(factor), one))
    return AnswerEquality(ExpressionEquality(ExactArithmetic())).equal(one, other)


def _compare_unread(one: Node | None, other: Node | None, gold: str, answer: str) -> bool | None:
    """Compare answers of which at least one is not in the grammar."""
    if text_answer(answer).letters == _EMPTY and one == Constant("empty"):
        return True
    if text_answer(gold).letters == _EMPTY and other == Constant("empty"):
        return True
    if one is not None:
        letter, rest = choice_letter(answer)
        if letter and rest:
            return compare_exactly(gold, letter) or compare_exactly(gold, rest)
        number = number_word(answer)
        return compare_exactly(gold, number) if number != answer else (None if _CALCULUS.search(answer) else False)
    if _is_text(gold):
        return plain_text(gold) == plain_text(answer)
    return None


def _parse(quantity: MeasuredText) -> Node | None:
    """Return the tree of an answer; a percent sign stays a part of it."""
    return parse_answer(quantity.text + "\\%" * (quantity.unit == "%"))


def _is_text(gold: str) -> bool:
    """Return whether a gold answer that is not in the grammar consists of words that can be compared as text."""
    text = normalize(gold)
    return (has_words(gold) or "\\ldots" in text) and not _CALCULUS.search(text) and text.count("{") == text.count("}")

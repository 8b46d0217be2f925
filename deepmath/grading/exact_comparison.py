"""Comparison of answers that needs no symbolic mathematics: numbers, percentages, units and words.

Model-written text is only matched and parsed as rational numbers here, so this runs in the caller's process. It
decides nearly all comparisons for most datasets.
"""

from fractions import Fraction

from deepmath.grading.answer_normalization import canonical_form
from deepmath.grading.measured_quantity import split_unit
from deepmath.grading.text_answers import text_answer

# Answers of datasets have a few dozen characters. A page of text is not an answer, and is slow to parse.
MAX_CHARACTERS = 1000


def compare_exactly(gold: str, answer: str) -> bool | None:
    """Return whether `answer` equals `gold`, or None if only a symbolic comparison can tell."""
    if not answer.strip():
        return False
    if canonical_form(gold) == canonical_form(answer):
        return True
    if max(len(answer), len(gold)) > MAX_CHARACTERS:
        return False
    expected, given = split_unit(gold), split_unit(answer)
    if expected.unit and given.unit and expected.unit != given.unit:
        return False
    numbers = canonical_form(expected.text), canonical_form(given.text)
    if isinstance(numbers[0], Fraction) and isinstance(numbers[1], Fraction):
        pair = (numbers[0], expected.unit == "%"), (numbers[1], given.unit == "%")
        return _equal_numbers(*pair, rounded="." in expected.text + given.text)
    words, other = text_answer(gold), text_answer(answer)
    if words.letters and other.letters and (words.is_certain or other.is_certain):
        return words.letters == other.letters
    return None


def is_comparable(gold: str) -> bool | None:
    """Return whether answers can be compared with `gold`, or None if only a symbolic parser can tell."""
    if isinstance(canonical_form(split_unit(gold).text), Fraction):
        return True
    return False if not gold.strip() or len(gold) > MAX_CHARACTERS else None


def _equal_numbers(gold: tuple[Fraction, bool], answer: tuple[Fraction, bool], rounded: bool) -> bool:
    """Compare two numbers, each with a flag that marks a percentage.

    A number without a percent sign may stand for a percentage or for its hundredth, but 0.5 does not equal 0.5%.
    """
    (expected, expected_is_percent), (given, given_is_percent) = gold, answer
    if expected_is_percent == given_is_percent:
        return _close(expected, given, rounded)
    percent, bare = (expected, given) if expected_is_percent else (given, expected)
    return _close(percent / 100, bare, rounded) or (
        (expected_is_percent or expected > 1) and _close(percent, bare, rounded)
    )


def _close(gold: Fraction, answer: Fraction, rounded: bool) -> bool:
    """Compare exactly, or to six decimal places and a relative error of 1e-4 if a decimal point occurs.

    The relative bound keeps small numbers apart.
    """
    if not rounded:
        return gold == answer
    return round(gold, 6) == round(answer, 6) and abs(gold - answer) <= abs(gold) / 10_000

"""Answers: where a text has one, when two are equal, and which has the majority."""

import re
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction

_BOX = "\\boxed{"
_FRACTION = re.compile(r"(?<!\d)\\[dt]?frac\{?(\d+)\}?\{?(\d+)\}?")
# Bounded, because `Fraction("1e999999999")` and its like would never return.
_RATIONAL = re.compile(r"[+-]?\d{1,200}(\.\d{1,200})?(/\d{1,200})?")


def extract_boxed(text: str) -> str:
    r"""Return the content of the last complete `\boxed{...}` in `text`, braces balanced, or "" where there is none."""
    start = text.rfind(_BOX)
    while start >= 0:
        depth = 1
        for at in range(start + len(_BOX), len(text)):
            depth += (text[at] == "{") - (text[at] == "}")
            if depth == 0:
                return text[start + len(_BOX) : at].strip()
        start = text.rfind(_BOX, 0, start)
    return ""


def canonical(answer: str) -> Fraction | str:
    r"""Return what `answer` is compared by: its exact value where it is a number (1/2, 0.5 and \frac12 are one).

    Any other answer is compared as text without spaces, dollar signs and a final full stop.
    """
    text = answer.strip().strip("$").rstrip(".").replace("\\,", "").replace("\\!", "").replace(" ", "")
    rational = re.sub(r"(?<=\d),(?=\d{3}(\D|$))", "", _FRACTION.sub(r"\1/\2", text))
    if not _RATIONAL.fullmatch(rational):
        return text
    numerator, _, denominator = rational.partition("/")
    if denominator and not int(denominator):
        return text
    return Fraction(numerator) / Fraction(denominator or 1)


def same(answer: str, gold: str) -> bool:
    """Return whether `answer` is `gold`. No answer is never right."""
    return bool(answer) and canonical(answer) == canonical(gold)


def majority(answers: Iterable[str]) -> list[tuple[str, int]]:
    """Return each distinct answer in its most frequent spelling with its votes, most votes first.

    Empty answers do not vote; of answers with equally many votes the one given first comes first.
    """
    spellings: dict[Fraction | str, Counter[str]] = {}
    for answer in answers:
        if answer:
            spellings.setdefault(canonical(answer), Counter())[answer] += 1
    votes = [(counter.most_common(1)[0][0], counter.total()) for counter in spellings.values()]
    return sorted(votes, key=lambda vote: -vote[1])

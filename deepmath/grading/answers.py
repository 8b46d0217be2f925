"""Answers: where a text has one, what one says, when two are equal, and which has the majority."""

import re
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

_BOX = "\\boxed{"
_MACRO = r"\\(?:text(?:rm|bf|it|normal)?|mathrm|mbox)\s*"
# What changes only how an answer looks, in this order.
_LAYOUT = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"(?<!\\)\$|(?<!\\)\\[()\[\]]", " "),  # where mathematics begins and ends: all of the answer counts
        (r"\\(?:left|right|[bB]igg?[lrm]?)(?![A-Za-z])\s*\.?", ""),
        (r"(?<=\d)(?:\{,\}|,\\!|\\,)(?=\d{3}(?!\d))", ""),  # between thousands
        (r"(?<!\\)\\[,;:!\s]|~|\\q?quad(?![A-Za-z])|\\(?:display|text)style(?![A-Za-z])", " "),
        (r"\\(?:text)?color\s*\{[^{}]*\}", ""),
        (r"\\(?:boxed|fbox|mathbf|boldsymbol|bm|underline)\s*(?=\{)", ""),
        (r"\\mathrm\s*(\{\s*[ei]\s*\})", r"\1"),  # the numbers, and no words
        (r"\\varnothing(?![A-Za-z])", r"\\emptyset"),
        (r"\\langle(?![A-Za-z])", "("),
        (r"\\rangle(?![A-Za-z])", ")"),
        (r"\s*°", r"^\\circ"),
        (rf"(?<!\\)%|{_MACRO}\{{\s*(?:\\?%|percent)\s*\}}|(?<=[\d}}])\s*percent(?![a-z])", r"\\%"),
        (rf"^\s*{_MACRO}\{{(\s*[+-]?\d[^{{}}]*)\}}", r"\1"),  # a number with its unit, all of it as text
        (r"^\s*(?:=|\\approx(?![A-Za-z]))", ""),
        (r"\s+", " "),
    ]
]
_FRACTION = re.compile(r"\\[dtc]?frac(?:\{(-?\d+)\}|(\d))(?:\{(\d+)\}|(\d))(?!\d)")
# Bounded, because `Fraction("1e999999999")` and its like would never return.
_DECIMAL = r"(?=\.?\d)\d{0,200}(?:\.\d{0,200})?"
_RATIONAL = re.compile(rf"([+-]?)(?:(\d{{1,200}}) (?=\d+/))?({_DECIMAL})(?:/(\d{{1,200}}))?")
_REPEATING = re.compile(r"([+-]?)(\d{0,200})\.(\d{0,200})\\(?:overline|bar)\{(\d{1,200})\}")
_SCIENTIFIC = re.compile(
    rf"([+-]?{_DECIMAL})(?:[eE]([+-]?\d{{1,3}})|(?:\\times|\\cdot|\*)10\^(?:\{{([+-]?\d{{1,3}})\}}|(\d)))"
)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}([ ,])\d{3}(?:\1\d{3})*(?:\.\d+)?")

# Those that are often mistaken for each other; others are taken for equal.
_UNITS = {
    word: unit
    for unit, words in {
        "mm": "mm millimeter millimetre",
        "cm": "cm centimeter centimetre",
        "m": "m meter metre",
        "km": "km kilometer kilometre",
        "in": "in inch inche",
        "ft": "ft foot feet",
        "yd": "yd yard",
        "mi": "mi mile",
        "g": "g gram",
        "kg": "kg kilogram",
        "lb": "lb pound",
        "oz": "oz ounce",
        "ml": "ml milliliter millilitre",
        "l": "l liter litre",
        "s": "s sec second",
        "min": "min minute",
        "h": "h hr hour",
        "day": "day",
        "week": "week",
        "month": "month",
        "year": "yr year",
        "cent": "cent",
        "dollar": "dollar",
        "am": "am",
        "pm": "pm",
        "rad": "rad radian",
        "deg": "deg degree",
        "/": "/ per",
    }.items()
    for word in words.split()
}
# Words that change the value, or what is said of it.
_NO_UNIT = re.compile(
    r"\b(hundred|thousand|million|billion|trillion|dozen|or|and|more|less|least|most|than|not|if|infinity)\b"
)
_POWER = r"(?:\s*\^\s*\{?-?\d\}?)?"
_ONE_UNIT = rf"{_MACRO}\{{(?!\s*[deijnxyz]\s*\}})[^{{}}]*\}}{_POWER}"  # not the i of 2\mathrm{i}
_TAKES_UNIT = re.compile(r"[A-Za-z\d)}\]|!]$")
_DEGREE = r"\^\s*(?:\\circ|\{\s*\\circ\s*\})"
_UNIT = re.compile(rf"(?:{_DEGREE})?\s*{_ONE_UNIT}(?:\s*(?:/|\\cdot)?\s*{_ONE_UNIT})*$|\s*(?:{_DEGREE}|\\%)$")
_BARE_UNIT = re.compile(rf"(?<=\d)(\s*)([A-Za-z][A-Za-z ./]+){_POWER}$")
_BASE = re.compile(r"(\d+)_(?:\{(\d+)\}|(\d))")
_WORDS = re.compile(r"\(?([A-Za-z][A-Za-z '-]*)\)?")


class Quantity(NamedTuple):
    """An answer without its unit; the unit is "" where there is none or it is none that others are mistaken for."""

    text: str
    unit: str


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


def plain(answer: str) -> str:
    """Return `answer` without delimiters, spacing, fonts and a final full stop."""
    for pattern, replacement in _LAYOUT:
        answer = pattern.sub(replacement, answer)
    return answer.strip().rstrip("\\.").strip()


def canonical(answer: str) -> Fraction | str:
    r"""Return what `answer` is compared by: its exact value where it is a number (1/2, 0.5 and \frac12 are one).

    Any other answer is compared as `plain` text without spaces.
    """
    text = plain(answer).removeprefix("\\$").strip()
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "").replace(" ", "")
    text = re.sub(r"(?<!\d) | (?!\d)", "", text)  # "7 0" is not 70
    value = _value(text)
    return text if value is None else value


def _value(text: str) -> Fraction | None:
    # A mixed number gets a space: "3\frac12" is no product.
    rational = _FRACTION.sub(r"\1\2/\3\4", re.sub(r"(?<=\d) ?(?=\\[dtc]?frac)", " ", text))
    if found := _RATIONAL.fullmatch(rational):
        sign, whole, numerator, denominator = found.groups()
        if denominator and not int(denominator):
            return None
        value = Fraction(numerator) / Fraction(denominator or 1) + int(whole or 0)
        return -value if sign == "-" else value
    if found := _REPEATING.fullmatch(text):
        sign, whole, head, period = found.groups()
        value = Fraction(f"{whole or 0}.{head}") + Fraction(int(period), int("9" * len(period) + "0" * len(head)))
        return -value if sign == "-" else value
    if found := _SCIENTIFIC.fullmatch(text):
        mantissa, *exponents = found.groups()
        return Fraction(f"{mantissa}e{next(filter(None, exponents))}")
    return None


def quantity(answer: str) -> Quantity:
    r"""Return `answer` as `plain` text and its unit apart: 5\text{ cm}^2, 5 cm, 90^\circ, \$5, 50\% ("%"), 101_2.

    Letters that may be variables are none: 2t is no number of tonnes.
    """
    text = plain(answer)
    if text.startswith("\\$"):
        return Quantity(text[2:].strip(), "dollar")
    if found := _BASE.fullmatch(text):
        return Quantity(found[1], f"base {found[2] or found[3]}")
    if found := _UNIT.search(text):
        rest = text[: found.start()].rstrip(" ,")
        if _TAKES_UNIT.search(rest) and "\\text" not in rest and not _NO_UNIT.search(found[0]):
            return Quantity(rest, _known(found[0]))
    elif found := _BARE_UNIT.search(text):
        rest, unit = text[: found.start()], found[0]
        is_known = bool(_known(unit)) and len(found[2]) > 1
        is_long = bool(found[1]) and all(len(word) >= 4 for word in found[2].split())
        is_number = isinstance(canonical(rest), Fraction) or not re.search("[A-Za-z]", rest)
        if is_number and (is_known or is_long) and not _NO_UNIT.search(unit):
            return Quantity(rest, _known(unit))
    return Quantity(text, "")


def _known(unit: str) -> str:
    if "%" in unit:
        return "%"
    unit = re.sub(rf"{_MACRO}|\\cdot", " ", unit.lower().replace(".", "").replace("\\circ", "deg"))
    parts = [_UNITS.get(part) or _UNITS.get(part.removesuffix("s"), part) for part in re.findall(r"[a-z]+|/|\d", unit)]
    return " ".join(parts) if all(part.isdigit() or part in _UNITS.values() for part in parts) else ""


def words(answer: str) -> tuple[str, bool]:
    r"""Return the letters of an answer in words, "" where it is none, and whether these can be no product.

    They can not in \text{}, with a capital or when they are many: xy is yx, but SAS is not SSA.
    """
    text = plain(answer)
    wrapped = re.fullmatch(rf"{_MACRO}\{{([^{{}}]*)\}}", text)
    found = _WORDS.fullmatch((wrapped[1] if wrapped else text).strip(" .!"))
    if not found or len(found[1]) < 2:
        return "", False
    letters = re.sub(r"[^A-Za-z]", "", found[1])
    return letters.casefold(), bool(wrapped) or letters != letters.lower() or max(map(len, found[1].split())) >= 5


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

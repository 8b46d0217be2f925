r"""Separation of an answer into its value and its unit: 5\text{ cm}^2, 5 cm, 90^\circ, \$5, 50\%, 101_2."""

import re
from fractions import Fraction
from typing import NamedTuple

from deepmath.grading.answer_normalization import TEXT_MACRO, canonical_form, normalize

# Units that answers often confuse with one another. All other units are treated as equal.
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
# Words that change the value or the meaning of an answer, and are therefore not units.
_NOT_UNIT = re.compile(
    r"\b(hundred|thousand|million|billion|trillion|dozen|or|and|more|less|least|most|than|not|if|infinity)\b"
)
_POWER = r"(?:\s*\^\s*\{?-?\d\}?)?"
_ONE_UNIT = rf"{TEXT_MACRO}\{{(?!\s*[deijnxyz]\s*\}})[^{{}}]*\}}{_POWER}"  # not the i of 2\mathrm{i}
_TAKES_UNIT = re.compile(r"[A-Za-z\d)}\]|!]$")
_DEGREE = r"\^\s*(?:\\circ|\{\s*\\circ\s*\})"
_UNIT = re.compile(rf"(?:{_DEGREE})?\s*{_ONE_UNIT}(?:\s*(?:/|\\cdot)?\s*{_ONE_UNIT})*$|\s*(?:{_DEGREE}|\\%)$")
_BARE_UNIT = re.compile(rf"(?<=\d)(\s*)([A-Za-z][A-Za-z ./]+){_POWER}$")
_BASE = re.compile(r"(\d+)_(?:\{(\d+)\}|(\d))")


class Quantity(NamedTuple):
    """An answer separated from its unit."""

    text: str
    unit: str
    """Canonical name, `%` or `base N`; "" if there is no unit, or one that answers do not confuse with others."""


def split_unit(answer: str) -> Quantity:
    """Return the normalized `answer` without its unit, and the unit.

    Letters that may be variables are not units: 2t is not a number of tonnes.
    """
    text = normalize(answer)
    if text.startswith("\\$"):
        return Quantity(text[2:].strip(), "dollar")
    if found := _BASE.fullmatch(text):
        return Quantity(found[1], f"base {found[2] or found[3]}")
    if found := _UNIT.search(text):
        rest = text[: found.start()].rstrip(" ,")
        if _TAKES_UNIT.search(rest) and "\\text" not in rest and not _NOT_UNIT.search(found[0]):
            return Quantity(rest, _canonical_unit(found[0]))
    elif found := _BARE_UNIT.search(text):
        rest, unit = text[: found.start()], found[0]
        is_known = bool(_canonical_unit(unit)) and len(found[2]) > 1
        is_long = bool(found[1]) and all(len(word) >= 4 for word in found[2].split())
        is_number = isinstance(canonical_form(rest), Fraction) or not re.search("[A-Za-z]", rest)
        if is_number and (is_known or is_long) and not _NOT_UNIT.search(unit):
            return Quantity(rest, _canonical_unit(unit))
    return Quantity(text, "")


def _canonical_unit(unit: str) -> str:
    if "%" in unit:
        return "%"
    unit = re.sub(rf"{TEXT_MACRO}|\\cdot", " ", unit.lower().replace(".", "").replace("\\circ", "deg"))
    parts = [_UNITS.get(part) or _UNITS.get(part.removesuffix("s"), part) for part in re.findall(r"[a-z]+|/|\d", unit)]
    return " ".join(parts) if all(part.isdigit() or part in _UNITS.values() for part in parts) else ""

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
        "dm": "dm decimeter decimetre",
        "um": "micrometer micrometre micron",
        "nm": "nm nanometer nanometre",
        "mg": "mg milligram",
        "ton": "ton tonne",
        "gallon": "gal gallon",
        "quart": "qt quart",
        "pint": "pt pint",
        "cup": "cup",
        "acre": "acre",
        "ms": "ms millisecond",
        "mph": "mph",
        "kmh": "kph kmh",
        "hz": "hz hertz",
        "newton": "newton",
        "joule": "joule",
        "watt": "watt",
        "volt": "volt",
        "ampere": "ampere amp",
        "ohm": "ohm",
        "kelvin": "kelvin",
        "celsius": "celsius",
        "fahrenheit": "fahrenheit",
        "mol": "mol mole",
        "euro": "euro",
        "pound sterling": "sterling",
        "yen": "yen",
        "rupee": "rupee",
        "quarter": "quarter",
        "dime": "dime",
        "nickel": "nickel",
        "penny": "penny pennie",
        "deg": "deg degree",
        "/": "/ per",
    }.items()
    for word in words.split()
}
NOT_UNIT = re.compile(
    r"\b(hundred|thousand|million|billion|trillion|dozen|or|and|more|less|least|most|than|not|if|infinity)\b"
)
"""Words that change the value or the meaning of an answer, and are therefore not units."""
_POWER = r"(?:\s*\^\s*\{?-?\d\}?)?"
_ONE_UNIT = rf"{TEXT_MACRO}\{{(?!\s*[deijnxyz]\s*\}})[^{{}}]*\}}{_POWER}"  # not the i of 2\mathrm{i}
_TAKES_UNIT = re.compile(r"[A-Za-z\d)}\]|!]$")
_DEGREE = r"\^\s*(?:\\circ|\{\s*\\circ\s*\})"
_UNIT = re.compile(rf"(?:{_DEGREE})?\s*{_ONE_UNIT}(?:\s*(?:/|\\cdot)?\s*{_ONE_UNIT})*$|\s*(?:{_DEGREE}|\\%)$")
_BARE_UNIT = re.compile(rf"(?:(?<=[\d}}])|(?<=\\pi))(\s*)([A-Za-z][A-Za-z ./]+){_POWER}$")
_LONGEST_ABBREVIATION = 3
_COMMAND = re.compile(r"\\[A-Za-z]+")
_BASE = re.compile(rf"\(?(\d+)\)?_(?:\{{(?:{TEXT_MACRO}\{{)?(\w+)\}}?\}}|(\d+)|{TEXT_MACRO}\{{(\w+)\}})")
_BASE_NAMES = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "twelve": "12", "sixteen": "16",
}  # fmt: skip


# Factors to a common unit of the same dimension.
_FACTORS = {
    unit: (dimension, Fraction(factor))
    for dimension, units in {
        "length": {"mm": "1/1000", "cm": "1/100", "m": "1", "km": "1000"},
        "imperial length": {"in": "1", "ft": "12", "yd": "36", "mi": "63360"},
        "mass": {"g": "1", "kg": "1000"},
        "imperial mass": {"oz": "1", "lb": "16"},
        "volume": {"ml": "1", "l": "1000"},
        "time": {"s": "1", "min": "60", "h": "3600", "day": "86400", "week": "604800"},
        "calendar": {"month": "1", "year": "12"},
        "money": {"cent": "1", "dollar": "100"},
    }.items()
    for unit, factor in units.items()
}


class MeasuredText(NamedTuple):
    """An answer separated from its unit."""

    text: str
    unit: str
    """Canonical name, `%` or `base N`; "" if there is no unit, or one that answers do not confuse with others."""


def conversion(unit: str, other: str) -> Fraction | None:
    """Return how many of `other` make one of `unit`, or None if these are not units of one dimension.

    Powers of units are converted: a square metre has 10 000 square centimetres.
    """
    if " / " in unit and " / " in other:
        factors = [
            conversion(*pair) or (Fraction(1) if pair[0] == pair[1] else None)
            for pair in zip(unit.split(" / "), other.split(" / "), strict=False)
        ]
        return factors[0] / factors[1] if len(factors) == 2 and factors[0] and factors[1] else None
    (name, power), (other_name, other_power) = _with_power(unit), _with_power(other)
    if not power or power != other_power or name not in _FACTORS or other_name not in _FACTORS:
        return None
    (dimension, factor), (other_dimension, other_factor) = _FACTORS[name], _FACTORS[other_name]
    return (factor / other_factor) ** power if dimension == other_dimension else None


def _with_power(unit: str) -> tuple[str, int]:
    name, _, power = unit.partition(" ")
    return name, int(power) if power in ("2", "3") else (1 if not power else 0)


def split_unit(answer: str) -> MeasuredText:
    """Return the normalized `answer` without its unit, and the unit.

    Letters that may be variables are not units: 2t is not a number of tonnes.
    """
    text = normalize(answer)
    if text.startswith("\\$"):
        return MeasuredText(text[2:].strip(), "dollar")
    if found := _BASE.fullmatch(text):
        base = found[2] or found[3] or found[4]
        return MeasuredText(found[1], f"base {_BASE_NAMES.get(base, base)}")
    if found := _UNIT.search(text):
        rest = text[: found.start()].rstrip(" ,")
        if _TAKES_UNIT.search(rest) and "\\text" not in rest and not NOT_UNIT.search(found[0]):
            return _with_degrees(rest, _canonical_unit(found[0]))
    elif found := _BARE_UNIT.search(text):
        rest, unit = text[: found.start()], found[0]
        is_known = _canonical_unit(unit)[:1] not in ("", "?") and len(found[2]) > 1
        is_long = bool(found[1]) and all(len(word) >= 4 for word in found[2].split())
        is_number = isinstance(canonical_form(rest), Fraction) or not re.search("[A-Za-z]", _COMMAND.sub("", rest))
        if is_number and (is_known or is_long) and not NOT_UNIT.search(unit):
            return _with_degrees(rest, _canonical_unit(unit))
    return MeasuredText(text, "")


def _with_degrees(text: str, unit: str) -> MeasuredText:
    r"""Return a quantity; degrees stay a part of the text, because \sin 60^\circ is not \sin 60."""
    return MeasuredText(f"{text}^\\circ" if unit == "deg" else text, unit)


def _canonical_unit(unit: str) -> str:
    if "%" in unit:
        return "%"
    unit = re.sub(rf"{TEXT_MACRO}|\\cdot", " ", unit.lower().replace(".", "").replace("\\circ", "deg"))
    parts = [_UNITS.get(part) or _UNITS.get(part.removesuffix("s"), part) for part in re.findall(r"[a-z]+|/|\d", unit)]
    if all(part.isdigit() or part in _UNITS.values() for part in parts):
        return " ".join(parts)
    # An unknown abbreviation differs from all others; unknown words, such as `apples`, are treated as equal.
    return f"?{parts[0]}" if len(parts) == 1 and len(parts[0]) <= _LONGEST_ABBREVIATION else ""

"""The gold answer of a dataset as text, from any cell: text, a number, a truth value, a list of answers, or nothing."""

import math
import re
from collections.abc import Sequence
from fractions import Fraction

from deepmath.errors import InvalidRequest
from deepmath.grading.answer_normalization import canonical_form
from deepmath.grading.unescaped_latex import find_unescaped

_MAX_QUOTED_CHARACTERS = 1000  # no gold answer is longer
_STRING = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_STRINGS = re.compile(_STRING)
_QUOTED_LIST = re.compile(rf"\[\s*(?:{_STRING})\s*(?:,\s*(?:{_STRING})\s*)*\]")
_GSM8K_MARK = "\n#### "
"""Before the answer, after its solution (github.com/openai/grade-school-math)."""


def gold_text(cell: object) -> str:
    """Return the gold answer in `cell` as text; empty if there is none.

    A list holds all answers of a problem, in any order: `["3", "5"]` is `3, 5`, which the answer 3 alone does not
    match. Elements with the same value count once, so `["1/2", "0.5"]` is `1/2`. A text that is such a list of quoted
    texts, as in a CSV file, is read as one. Of a solution in GSM8K's format, the answer is what follows `####`.

    Raises:
        InvalidRequest: the cell is an object, or a list in a list.
    """
    if isinstance(cell, list | tuple):
        return _list_text(cell)
    text = _scalar_text(cell)
    if len(text) <= _MAX_QUOTED_CHARACTERS and _QUOTED_LIST.fullmatch(text):
        return _list_text([quoted[1:-1].replace("\\\\", "\\") for quoted in _STRINGS.findall(text)])
    return text.rpartition(_GSM8K_MARK)[2].strip() if _GSM8K_MARK in text else text


def _list_text(cells: Sequence[object]) -> str:
    distinct: dict[object, str] = {}
    for text in filter(None, map(_scalar_text, cells)):
        form = canonical_form(text)
        # A comma separates answers, so none may be left within a number.
        distinct.setdefault(form, text.replace(",", "") if isinstance(form, Fraction) and len(cells) > 1 else text)
    return ", ".join(distinct.values())


def _scalar_text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, list | tuple | dict | set | bytes):
        raise InvalidRequest(
            f"the answer or gold answer {cell!r:.60} is not a text, a number or a flat list of them; "
            "write it as one LaTeX text"
        )
    if isinstance(cell, float):
        return _float_text(cell)
    text = str(cell)
    return text if find_unescaped(text) else text.strip()  # a leading form feed is the rest of a damaged \frac


def _float_text(value: float) -> str:
    """Return the shortest text of `value`. A column of integers with a gap holds 42 as 42.0, and the gap as NaN."""
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return "\\infty" if value > 0 else "-\\infty"
    return str(int(value) if value.is_integer() else value)

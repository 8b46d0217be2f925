"""Columns of a dataset that tell a problem's family and difficulty: the subject and level of MATH, for example.

A cell that is neither, or is not fit to print, counts as missing: a dataset is not refused for them.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

MOST_DIFFICULTY = 20
"""The largest difficulty; the smallest is 0. Datasets count levels from 1 to 5 (MATH) or 10 (Omni-MATH)."""

_MOST_FAMILY_CHARACTERS = 60
_FAMILY = ("family", "subject", "subfield", "category")
_DIFFICULTY = ("difficulty", "level")
_LEVEL = re.compile(r"(?:level\s{0,3})?(\d{1,2}(?:\.\d{1,9})?)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class FamilyColumns:
    """The names of the two columns in a dataset, if it has them."""

    family: str | None
    difficulty: str | None

    @classmethod
    def among(cls, columns: Sequence[str]) -> Self:
        """Return the columns among `columns`, in any case; of several, the one with the most usual name."""
        by_name = {column.lower(): column for column in reversed(columns)}
        return cls(*(next((by_name[name] for name in own if name in by_name), None) for own in (_FAMILY, _DIFFICULTY)))

    @property
    def names(self) -> list[str]:
        """The columns that the dataset has."""
        return [name for name in (self.family, self.difficulty) if name]

    def cells(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the cells in `row` as arguments of `DatasetProblem.of`."""
        return {
            "family": row[self.family] if self.family else None,
            "difficulty": row[self.difficulty] if self.difficulty else None,
        }


def family_of(cell: object) -> str:
    """Return the family in `cell`, a short printable text; empty if it is none."""
    text = cell.strip() if isinstance(cell, str) and len(cell) <= 2 * _MOST_FAMILY_CHARACTERS else ""
    return text if len(text) <= _MOST_FAMILY_CHARACTERS and text.isprintable() else ""


def difficulty_of(cell: object) -> int | None:
    """Return the difficulty in `cell`, 3 for `3`, `3.5` and `Level 3`; None if it is none."""
    if isinstance(cell, str):
        cell = float(match[1]) if len(cell) < 40 and (match := _LEVEL.fullmatch(cell.strip())) else None
    if isinstance(cell, bool) or not isinstance(cell, int | float) or not 0 <= cell <= MOST_DIFFICULTY:
        return None
    return math.floor(cell)

"""A question and its gold answer, from any dataset."""

import hashlib
from dataclasses import dataclass
from typing import Self

_ID_CHARACTERS = 16


@dataclass(frozen=True)
class DatasetProblem:
    """A question with its gold answer."""

    id: str
    """The dataset's own id, or else a digest of the question, which is the same in every file."""
    text: str
    answer: str
    r"""As the dataset writes it: `42`, `\frac{3}{4}`, with or without dollar signs."""

    @classmethod
    def of(cls, question: object, answer: object, own_id: object = None) -> Self:
        """Return the problem of a row with these cells."""
        text = _cell_text(question)
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_ID_CHARACTERS]
        return cls(digest if own_id is None else str(own_id), text, _cell_text(answer))


def _cell_text(cell: object) -> str:
    """Return a cell as text. A column of integers with a gap in it holds 42 as 42.0."""
    if cell is None:
        return ""
    return str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell).strip()

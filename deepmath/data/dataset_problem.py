"""A question and its gold answer, from any dataset."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Self

from deepmath.data.gold_answer import gold_text
from deepmath.data.problem_family_columns import difficulty_of, family_of
from deepmath.data.question_text import question_text
from deepmath.errors import InvalidRequest
from deepmath.grading.gym_entry import GymEntry
from deepmath.grading.unescaped_latex import find_unescaped

_ID_CHARACTERS = 16
_MOST_OWN_CHARACTERS = 200  # of an id that a dataset gives


@dataclass(frozen=True)
class DatasetProblem:
    """A question with its gold answer."""

    id: str
    """The dataset's own id if it is a short text or an integer, or else `digest`."""
    text: str
    answer: str
    r"""As the dataset writes it: `42`, `\frac{3}{4}`, with or without dollar signs. See `gold_text`."""
    entry: GymEntry | None = None
    """Of a problem of reasoning-gym, which has its own scorer. `answer` is then one correct answer, or empty."""
    family: str = ""
    """Family, subject or task, a short printable text; empty if the dataset has none."""
    difficulty: int | None = None
    """From 0 to `MOST_DIFFICULTY`, as the dataset counts; None if it has none."""

    @property
    def digest(self) -> str:
        """The digest of the question, 16 hexadecimal digits, which is the same in every file."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:_ID_CHARACTERS]

    def with_digest(self) -> Self:
        """Return the problem with the digest as its id."""
        return replace(self, id=self.digest)

    @property
    def reference(self) -> str | GymEntry:
        """The reference of the verifier: the entry if there is one, otherwise the gold answer."""
        return self.entry or self.answer

    def to_row(self) -> dict[str, Any]:
        """Return the problem as a row of a JSON Lines file, from which `of` makes an equal one if it has no entry."""
        row = {"id": self.id, "family": self.family, "difficulty": self.difficulty}
        return row | {"problem": self.text, "answer": self.answer}

    @classmethod
    def of(
        cls,
        question: object,
        answer: object,
        own_id: object = None,
        where: str = "",
        family: object = None,
        difficulty: object = None,
    ) -> Self:
        """Return the problem of a row with these cells. `where` is the row's place in a JSON file.

        Raises:
            InvalidRequest: the question is not a text or a chat with one question, the answer is not text, a number or
                a list of them, or JSON's escapes have damaged the LaTeX of a row in a JSON file.
        """
        try:
            text = question_text(question)
        except InvalidRequest as error:
            raise InvalidRequest(f"{where}: {error}" if where else str(error)) from None
        try:
            gold = gold_text(answer)
        except InvalidRequest as error:
            raise InvalidRequest(f"{where or f'problem {text[:40]!r}'}: {error}") from None
        if where:
            check_escapes(question if isinstance(question, str) else text, f"{where}: the question", prose=True)
            check_escapes(answer, f"{where}: the answer")
        problem = cls(_own_id(own_id), text, gold, None, family_of(family), difficulty_of(difficulty))
        return problem if problem.id else problem.with_digest()


def _own_id(cell: object) -> str:
    """Return the id in `cell`; empty if it is none. A column of integers with a gap holds 7 as 7.0."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    if not isinstance(cell, str | int) or isinstance(cell, bool):
        return ""
    text = cell.strip() if isinstance(cell, str) else str(cell)
    return text if len(text) <= _MOST_OWN_CHARACTERS and text.isprintable() else ""


def check_escapes(cell: object, where: str, prose: bool = False) -> None:
    r"""Check that JSON has not read LaTeX commands as escapes in `cell`, a text or a list of texts from a JSON file.

    Raises:
        InvalidRequest: it has; the message says what to write instead.
    """
    for text in cell if isinstance(cell, list) else [cell]:
        if isinstance(text, str) and (command := find_unescaped(text, prose)):
            raise InvalidRequest(
                f"{where} has {command} with one backslash, which JSON reads as the escape {command[:2]}; "
                f'write two: "\\{command}"'
            )

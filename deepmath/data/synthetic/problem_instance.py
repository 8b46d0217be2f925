"""One instance of a problem family, the train/test split it belongs to, and the problem that it stands for."""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Literal

from deepmath.data.synthetic.problem_family import Parameters, ProblemFamily

Split = Literal["train", "test"]

DIFFICULTIES = 3
"""Grades of difficulty of each family, numbered from 1."""

TEST_SHARE = 5
"""One in this many instances is a test instance."""


@dataclass(frozen=True)
class SyntheticProblem:
    """A question with its exact answer. One line of a JSON Lines file."""

    id: str
    """Identifies the instance and its wording, independently of the seed."""
    family: str
    """The name of its family."""
    difficulty: int
    """1 for the easiest problems of the family, `DIFFICULTIES` for the hardest."""
    problem: str
    """The question."""
    answer: str
    """An integer or a fraction in lowest terms: `42`, `-7`, `3/4`."""

    def to_json(self) -> str:
        """Return the problem as one line of JSON, without the newline."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True)
class ProblemInstance:
    """A family with parameters of a difficulty and a wording, which together determine a problem."""

    family: ProblemFamily
    parameters: Parameters
    wording: int
    """Index into the family's wordings."""
    difficulty: int

    @property
    def split(self) -> Split:
        """The split, by the digest of the canonical parameters: the same for every wording, seed and release."""
        return "test" if int(self._digest(), 16) % TEST_SHARE == 0 else "train"

    @property
    def id(self) -> str:
        """Stable identifier of instance and wording."""
        digest = sha256(repr(sorted(self.parameters.items())).encode()).hexdigest()
        return f"{self.family.name}-{digest[:12]}-{self.wording}"

    def problem(self) -> SyntheticProblem:
        """Return the problem of this instance."""
        family = self.family
        question, answer = family.question(self.parameters, self.wording), family.answer_text(self.parameters)
        return SyntheticProblem(self.id, family.name, self.difficulty, question, answer)

    def _digest(self) -> str:
        canonical = self.family.canonical(self.parameters)
        return sha256(f"{self.family.name}:{canonical}".encode()).hexdigest()

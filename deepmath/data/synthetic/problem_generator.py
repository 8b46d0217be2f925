"""A problem, and the stream of problems that a seed stands for."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from random import Random
from typing import Literal, get_args

from deepmath.data.synthetic.family import Family, Parameters
from deepmath.data.synthetic.family_registry import FAMILIES

Split = Literal["train", "test"]

# One instance in this many is a test instance.
TEST_SHARE = 5

# Draws without a problem not yet given, after which a family counts as used up and may repeat itself.
_MOST_REPEATS = 200


@dataclass(frozen=True)
class SyntheticProblem:
    """A question with its exact answer. One line of a JSON Lines file."""

    id: str
    """Stable: stands for the instance and its wording, whatever the seed."""
    family: str
    """The name of its family."""
    problem: str
    """The question."""
    answer: str
    """An integer or a fraction in lowest terms: `42`, `-7`, `3/4`."""

    def to_json(self) -> str:
        """The problem as one line of JSON, without the line's end."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True)
class Instance:
    """A family, parameters and a wording: all that a problem is made of."""

    family: Family
    parameters: Parameters
    wording: int

    @property
    def split(self) -> Split:
        """Where the instance belongs, whatever its wording: decided by its digest, so it never changes sides."""
        return "test" if int(self._digest(), 16) % TEST_SHARE == 0 else "train"

    @property
    def id(self) -> str:
        """Stable name of instance and wording."""
        drawn = sha256(repr(sorted(self.parameters.items())).encode()).hexdigest()
        return f"{self.family.name}-{drawn[:12]}-{self.wording}"

    def problem(self) -> SyntheticProblem:
        """The instance as a problem."""
        family = self.family
        return SyntheticProblem(
            self.id, family.name, family.question(self.parameters, self.wording), family.answer_text(self.parameters)
        )

    def _digest(self) -> str:
        canonical = self.family.canonical(self.parameters)
        return sha256(f"{self.family.name}:{canonical}".encode()).hexdigest()


def instances(count: int, split: Split = "train", seed: int = 0) -> Iterator[Instance]:
    """Draws `count` instances, the families in turn; the first n are the same whatever the count.

    A family repeats a problem only when it has hardly any left that it has not given.

    Raises:
        ValueError: `count` is negative, or `split` is neither `train` nor `test`. Raised at the call.
    """
    if count < 0:
        raise ValueError(f"count is {count}; it must be 0 or more")
    if split not in get_args(Split):
        raise ValueError(f"split is {split!r}; it must be 'train' or 'test'")
    return _instances(count, split, seed)


def generate(count: int, split: Split = "train", seed: int = 0) -> Iterator[SyntheticProblem]:
    """Draws `count` problems, the families in turn. The same arguments give the same problems in every process.

    Raises:
        ValueError: `count` is negative, or `split` is neither `train` nor `test`. Raised at the call.
    """
    return (instance.problem() for instance in instances(count, split, seed))


def _instances(count: int, split: Split, seed: int) -> Iterator[Instance]:
    # A string seeds by its SHA-512, the same in every process.
    random = Random(f"{split}:{seed}")
    given: set[str] = set()
    for index in range(count):
        instance = _draw(FAMILIES[index % len(FAMILIES)], split, random, given)
        given.add(instance.id)
        yield instance


def _draw(family: Family, split: Split, random: Random, given: set[str]) -> Instance:
    repeats = 0
    while True:
        instance = Instance(family, family.draw(random), random.randrange(len(family.wordings)))
        if instance.split != split:
            continue
        if instance.id not in given or repeats == _MOST_REPEATS:
            return instance
        repeats += 1

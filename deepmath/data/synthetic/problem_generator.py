"""Reproducible streams of synthetic problems, determined by split and seed."""

from collections.abc import Iterator
from random import Random
from typing import get_args

from deepmath.data.synthetic.family_registry import FAMILIES
from deepmath.data.synthetic.problem_family import ProblemFamily
from deepmath.data.synthetic.problem_instance import ProblemInstance, Split, SyntheticProblem

# After this many draws without a new problem, a family counts as exhausted and may repeat itself.
_MAX_REPEATS = 200


def instances(count: int, split: Split = "train", seed: int = 0) -> Iterator[ProblemInstance]:
    """Draw `count` instances, round-robin over the families. A smaller count gives a prefix of a larger one.

    A family repeats a problem only when it is nearly exhausted.

    Raises:
        ValueError: `count` is negative, or `split` is neither `train` nor `test`. Raised at the call.
    """
    if count < 0:
        raise ValueError(f"count is {count}; it must be 0 or more")
    if split not in get_args(Split):
        raise ValueError(f"split is {split!r}; it must be 'train' or 'test'")
    return _instances(count, split, seed)


def generate(count: int, split: Split = "train", seed: int = 0) -> Iterator[SyntheticProblem]:
    """Draw `count` problems, round-robin over the families. Equal arguments give equal problems in every process.

    Raises:
        ValueError: `count` is negative, or `split` is neither `train` nor `test`. Raised at the call.
    """
    return (instance.problem() for instance in instances(count, split, seed))


def _instances(count: int, split: Split, seed: int) -> Iterator[ProblemInstance]:
    # Random hashes a string seed with SHA-512, which is the same in every process.
    random = Random(f"{split}:{seed}")
    drawn: set[str] = set()
    for index in range(count):
        instance = _draw(FAMILIES[index % len(FAMILIES)], split, random, drawn)
        drawn.add(instance.id)
        yield instance


def _draw(family: ProblemFamily, split: Split, random: Random, drawn: set[str]) -> ProblemInstance:
    repeats = 0
    while True:
        instance = ProblemInstance(family, family.draw(random), random.randrange(len(family.wordings)))
        if instance.split != split:
            continue
        if instance.id not in drawn or repeats == _MAX_REPEATS:
            return instance
        repeats += 1

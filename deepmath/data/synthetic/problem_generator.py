"""Reproducible streams of synthetic problems, determined by split and seed."""

from collections.abc import Collection, Iterator
from random import Random
from typing import get_args

from deepmath.data.synthetic.family_registry import FAMILIES
from deepmath.data.synthetic.problem_family import ProblemFamily
from deepmath.data.synthetic.problem_instance import DIFFICULTIES, ProblemInstance, Split, SyntheticProblem

# After this many draws without a new problem, a family counts as exhausted and may repeat itself.
_MAX_REPEATS = 200

EVERY_DIFFICULTY = range(1, DIFFICULTIES + 1)


def instances(
    count: int, split: Split = "train", seed: int = 0, difficulties: Collection[int] = EVERY_DIFFICULTY
) -> Iterator[ProblemInstance]:
    """Draw `count` instances, round-robin over the families, each of which goes round the difficulties.

    A smaller count gives a prefix of a larger one. A family repeats a problem only when it is nearly exhausted.

    Raises:
        ValueError: `count` is negative, `split` is neither `train` nor `test`, or `difficulties` is empty or contains a
            number that is not from 1 to `DIFFICULTIES`. Raised at the call.
    """
    if count < 0:
        raise ValueError(f"count is {count}; it must be 0 or more")
    if split not in get_args(Split):
        raise ValueError(f"split is {split!r}; it must be 'train' or 'test'")
    if not difficulties or not set(difficulties) <= set(EVERY_DIFFICULTY):
        raise ValueError(f"difficulties are {sorted(difficulties)}; each must be from 1 to {DIFFICULTIES}")
    return _instances(count, split, seed, sorted(set(difficulties)))


def generate(
    count: int, split: Split = "train", seed: int = 0, difficulties: Collection[int] = EVERY_DIFFICULTY
) -> Iterator[SyntheticProblem]:
    """Draw `count` problems as `instances` does. Equal arguments give equal problems in every process.

    Raises:
        ValueError: as `instances`.
    """
    return (instance.problem() for instance in instances(count, split, seed, difficulties))


def _instances(count: int, split: Split, seed: int, difficulties: list[int]) -> Iterator[ProblemInstance]:
    # Random hashes a string seed with SHA-512, which is the same in every process.
    random = Random(f"{split}:{seed}")
    drawn: set[str] = set()
    for index in range(count):
        rounds, place = divmod(index, len(FAMILIES))
        difficulty = difficulties[(rounds + place) % len(difficulties)]
        instance = draw_instance(FAMILIES[place], difficulty, split, random, drawn)
        drawn.add(instance.id)
        yield instance


def draw_instance(
    family: ProblemFamily, difficulty: int, split: Split, random: Random, drawn: Collection[str] = ()
) -> ProblemInstance:
    """Draw an instance whose id is not in `drawn`, unless the family is nearly exhausted."""
    draw = family.draws[difficulty - 1]
    repeats = 0
    while True:
        instance = ProblemInstance(family, draw(random), random.randrange(len(family.wordings)), difficulty)
        if instance.split != split:
            continue
        if instance.id not in drawn or repeats == _MAX_REPEATS:
            return instance
        repeats += 1

"""Streams of synthetic problems: reproducible, balanced, with disjoint train and test splits."""

import subprocess
import sys
from collections import Counter

import pytest

from deepmath.data.synthetic import FAMILIES, ProblemInstance, Split, generate, instances

COUNT = 32 * 60


def key(instance: ProblemInstance) -> tuple[str, tuple[int, ...]]:
    return instance.family.name, instance.family.canonical(instance.parameters)


def test_train_and_test_splits_are_disjoint() -> None:
    train = {key(instance) for instance in instances(2 * COUNT, "train", seed=1)}
    test = {key(instance) for instance in instances(2 * COUNT, "test", seed=1)}
    assert len(train) > COUNT / 2
    assert len(test) > COUNT / 4
    assert train.isdisjoint(test)


def test_about_one_instance_in_five_is_a_test_instance() -> None:
    drawn = [ProblemInstance(FAMILIES[0], {"a": a, "b": b}, 0, 3).split for a in range(100, 150) for b in range(12, 62)]
    assert 0.17 < Counter(drawn)["test"] / len(drawn) < 0.23


def test_same_seed_gives_the_same_problems() -> None:
    assert list(generate(COUNT, "test", seed=7)) == list(generate(COUNT, "test", seed=7))


def test_another_process_gives_the_same_problems() -> None:
    code = "from deepmath.data.synthetic import generate\nfor p in generate(200, 'train', seed=7): print(p.to_json())"
    other = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.splitlines() == [problem.to_json() for problem in generate(200, "train", seed=7)]


def test_another_seed_gives_different_problems() -> None:
    one, other = ({problem.id for problem in generate(COUNT, seed=seed)} for seed in (1, 2))
    assert len(one & other) < COUNT / 2


def test_smaller_count_gives_a_prefix() -> None:
    assert list(generate(50, seed=3)) == list(generate(100, seed=3))[:50]


def test_families_take_turns() -> None:
    counts = Counter(problem.family for problem in generate(10 * len(FAMILIES)))
    assert set(counts.values()) == {10}
    assert len(counts) == len(FAMILIES)


@pytest.mark.parametrize("split", ["train", "test"])
def test_ids_are_unique_and_identify_one_question(split: Split) -> None:
    problems = list(generate(COUNT, split, seed=5))
    assert len({problem.id for problem in problems}) == len({problem.problem for problem in problems}) == COUNT


def test_exhausted_family_repeats_problems_instead_of_hanging() -> None:
    repeated = [problem for problem in generate(32 * 400, "test", seed=1) if problem.family == "combinations"]
    assert len(repeated) == 400
    assert len({problem.id for problem in repeated}) < 400


def test_count_of_zero_gives_an_empty_stream() -> None:
    assert list(generate(0)) == []


def test_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="count is -1; it must be 0 or more"):
        generate(-1)


def test_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="split is 'validation'; it must be 'train' or 'test'"):
        generate(1, "validation")  # type: ignore[arg-type]  # the error under test

"""Problems of reasoning-gym: the same for the same seed, and none in both splits."""

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.data.reasoning_gym import gym_problems as module
from deepmath.data.reasoning_gym.gym_problems import gym_problems, gym_version
from deepmath.data.reasoning_gym.gym_source import GymSource
from deepmath.errors import InvalidRequest

# Generators that iterate over sets, use the global generators of random numbers, or have few instances.
MIX = "reasoning-gym:family_relationships+list_functions+pool_matrix+acre+coin_flip(max_trials=4)+gcd*2"


def problems(text: str, count: int, split: str = "train", seed: int = 0) -> list[DatasetProblem]:
    return gym_problems(GymSource.parse(text), count, split, seed)


@pytest.fixture(scope="module")
def train() -> list[DatasetProblem]:
    return problems(MIX, 60)


def test_problem_has_its_entry_and_an_instruction(train: list[DatasetProblem]) -> None:
    assert all(one.entry and one.reference is one.entry and "\\boxed{}" in one.text for one in train)
    assert len({one.id for one in train}) == 60


def test_seed_determines_the_problems(train: list[DatasetProblem]) -> None:
    assert problems(MIX, 40) == train[:40]  # in another process, with another seed of hashes
    assert problems(MIX, 10, seed=1) != train[:10]


def test_shares_follow_the_weights(train: list[DatasetProblem]) -> None:
    names = [one.entry.task.name for one in train if one.entry]
    assert names.count("gcd") > max(names.count(name) for name in set(names) - {"gcd"})


def test_splits_share_no_question(train: list[DatasetProblem]) -> None:
    few = "reasoning-gym:coin_flip(min_trials=2, max_trials=4)+syllogism"
    seen: dict[str, set[str]] = {"train": set(), "test": set()}
    for split, seed in (("train", 0), ("test", 1)):
        seen[split] |= {one.text for one in problems(few, 80, split, seed)}
    assert not seen["train"] & seen["test"]
    assert seen["test"]


def test_task_with_few_questions_has_as_many_problems() -> None:
    found = problems("reasoning-gym:coin_flip(min_trials=2, max_trials=3)", 100)
    assert 0 < len(found) < 100


MISTAKES = {
    "chain_sums": "no task chain_sums; did you mean chain_sum",
    "composite": "no task composite",
    "qqqq": "choose one of ab, acre",
    "chain_sum(min_term=3)": "no option min_term; did you mean min_terms",
    "chain_sum(min_terms=-3)": "chain_sum rejects its options",
    "chain_sum(min_terms='3')": "chain_sum rejects its options",
    "gcd+chain_sum(min_terms=9, max_terms=2)": "chain_sum rejects its options",
}
PROGRAM = """
import json, sys
from deepmath.data.reasoning_gym.gym_generator import Refused, problems
for parts in json.load(sys.stdin):
    try:
        list(problems(parts, "train", 0, 1))
    except Refused as refusal:
        sys.stderr.write(f"{refusal}\\n")
"""


def test_mistakes_have_a_message() -> None:
    sources = [GymSource.parse(f"reasoning-gym:{text}").parts for text in MISTAKES]
    request = json.dumps([[(one.task.name, one.task.options, one.weight) for one in parts] for parts in sources])
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    ended = subprocess.run(command, input=request, capture_output=True, text=True, check=True)
    messages = ended.stderr.splitlines()
    assert len(messages) == len(MISTAKES)
    for message, expected in zip(messages, MISTAKES.values(), strict=True):
        assert expected in message


def test_mistake_is_reported_by_the_caller() -> None:
    with pytest.raises(InvalidRequest, match="no task chain_sums; did you mean chain_sum"):
        problems("reasoning-gym:chain_sums", 1)


def test_unknown_split_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="must be 'train' or 'test'"):
        problems("reasoning-gym:gcd", 1, "dev")


def test_costly_options_end_the_process_and_not_the_caller() -> None:
    # The memory limit ends it here; the alarm would, were there more memory.
    text = "reasoning-gym:chain_sum(min_digits=10000000000, max_digits=10000000000)"
    with pytest.raises(InvalidRequest, match=r"rejects its options|generates no problems"):
        problems(text, 1)


def test_process_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROGRAM", "no_such_module")
    with pytest.raises(InvalidRequest, match=r"status 1 .*no_such_module"):
        problems("reasoning-gym:gcd", 1)


def test_process_ends_with_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def record(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", record)
    lines = module._generated({"parts": [("gcd", "{}", 1)], "split": "train", "seed": 0, "count": 10_000}, "gcd")
    next(lines)
    lines.close()
    assert started[0].returncode is not None


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(module, "version", missing)
    with pytest.raises(InvalidRequest, match="extra `reasoning-gym`"):
        gym_version()

"""Journalled trajectories are used again for the request that they answer, and for no other one."""

from pathlib import Path
from typing import Any, cast

import pytest
from deepmath_trainer.batch_sampler import BatchSampler
from deepmath_trainer.run_config_parser import parse_config, read_recipe
from deepmath_trainer.trajectory_journal import TrajectoryJournal

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.generator.v1 import generator_pb2 as pb

PROBLEMS = [DatasetProblem.of(f"What is {number} + 0?", str(number)) for number in range(12)]
SMALL = ("rollout.samples=2", "optimizer.micro_batch=2", "rollout.resample_flat=0", "curriculum.order=uniform")


class EchoingReplicas:
    """Answers each prompt with its question, and counts the prompts."""

    def __init__(self) -> None:
        self.requested = 0

    async def rollout(self, prompts: list[pb.RolloutPrompt], *_: object, **__: object) -> list[pb.RolloutResponse]:
        self.requested += len(prompts)
        return [
            pb.RolloutResponse(
                id=prompt.id, trajectory=pb.Trajectory(answer=prompt.question, status=pb.STATUS_ANSWERED)
            )
            for prompt in prompts
        ]


async def sample(
    folder: Path, *overrides: str, problems: list[DatasetProblem] = PROBLEMS, temperature: float = 1.0
) -> tuple[int, list[tuple[str, str]]]:
    """Sample a batch in a process of its own; return the prompts requested, and each problem with its trajectory's."""
    config = parse_config(read_recipe("tiny-math"), [*SMALL, *overrides])
    replicas = EchoingReplicas()
    sampler = BatchSampler(config, problems, cast(Any, replicas), TrajectoryJournal(folder / "journal"))
    try:
        batch = await sampler.sample(3, temperature)
    finally:
        sampler.close()
    pairs = [(group.problem.text, sample.trajectory.answer) for group in batch.groups for sample in group.samples]
    return replicas.requested, pairs


@pytest.mark.parametrize(
    "changes",
    [
        {"overrides": ("rollout.groups=3",)},
        {"overrides": ("rollout.max_tokens=99",)},
        {"overrides": ("rollout.mode=plain",)},
        {"problems": [DatasetProblem.of(f"What is {number} - 0?", str(number)) for number in range(12)]},
        {"temperature": 0.5},
    ],
)
async def test_resumed_run_with_other_settings_samples_again(tmp_path, changes: dict[str, Any]) -> None:
    settings = {"overrides": ("rollout.groups=2",), **changes}
    assert (await sample(tmp_path, "rollout.groups=2"))[0] == 4
    assert (await sample(tmp_path, "rollout.groups=2"))[0] == 0
    requested, pairs = await sample(tmp_path, *settings.pop("overrides"), **settings)
    assert requested == len(pairs)
    assert all(problem == sampled for problem, sampled in pairs)


async def test_more_samples_of_a_group_are_added_to_those_in_the_journal(tmp_path) -> None:
    await sample(tmp_path, "rollout.groups=2")
    requested, pairs = await sample(tmp_path, "rollout.groups=2", "rollout.samples=3", "optimizer.micro_batch=3")
    assert (requested, len(pairs)) == (2, 6)
    assert all(problem == sampled for problem, sampled in pairs)

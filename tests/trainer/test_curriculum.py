"""Problems are drawn by estimated pass rate, and the same ones again by a run that was killed."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from deepmath_trainer.batch_sampler import BatchSampler
from deepmath_trainer.checkpoint_store import TrainingCheckpoint
from deepmath_trainer.curriculum import Curriculum
from deepmath_trainer.pass_rates import PassCount
from deepmath_trainer.problem_order import ProblemOrder
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.run_config_parser import parse_config, read_recipe
from deepmath_trainer.sampling_pipeline import SamplingPipeline
from deepmath_trainer.trajectory_journal import TrajectoryJournal

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.generator.v1 import generator_pb2 as pb

RATES = {1: 0.97, 2: 0.5, 3: 0.03}  # by difficulty
SMALL = ("rollout.groups=4", "rollout.samples=4", "optimizer.micro_batch=4", "rollout.resample_flat=1")
BATCHES = 6


def problems(count: int = 48) -> list[DatasetProblem]:
    return [
        DatasetProblem(str(number), f"What is {number} + 0?", str(number), None, f"family {number % 4}", 1 + number % 3)
        for number in range(count)
    ]


def config(*overrides: str) -> TrainConfig:
    return parse_config(read_recipe("tiny-math"), ["curriculum.order=pass_rate", *SMALL, *overrides])


def counts(drawn: list[DatasetProblem], samples: int, random: Random) -> list[PassCount]:
    """Return the outcomes of groups of a policy whose pass rates are `RATES`."""
    return [
        PassCount(one.digest, sum(random.random() < RATES[one.difficulty or 0] for _ in range(samples)), samples)
        for one in drawn
    ]


def flat_share(settings: TrainConfig, batches: int) -> float:
    curriculum, random, flat = Curriculum(settings, problems(480)), Random(1), 0
    groups, samples = settings.rollout.groups, settings.rollout.samples
    for batch in range(batches):
        results = counts([curriculum.problem(batch, place) for place in range(groups)], samples, random)
        flat += sum(one.passed in (0, samples) for one in results)
        curriculum.observe(batch, results)
    return flat / batches / groups


def test_groups_without_variance_become_rare() -> None:
    uniform = flat_share(config("curriculum.order=uniform"), 150)
    by_pass_rate = flat_share(config(), 150)
    assert uniform > 0.5
    assert by_pass_rate < 0.65 * uniform


def test_uniform_order_is_that_of_earlier_versions() -> None:
    curriculum = Curriculum(config("curriculum.order=uniform"), problems())
    positions = ProblemOrder(48, seed=0).indices(0, 3 * 8)
    drawn = [curriculum.problem(batch, place) for batch in range(3) for place in range(8)]
    assert [int(one.id) for one in drawn] == positions


def test_problems_of_a_batch_and_their_replacements_differ() -> None:
    curriculum = Curriculum(config("rollout.resample_flat=9"), problems(32))
    drawn = Counter(curriculum.problem(0, place).id for place in range(40))
    assert len(drawn) == 32, "all of them before one is repeated"
    assert max(drawn.values()) == 2


def test_no_problem_starves() -> None:
    curriculum, random = Curriculum(config("curriculum.floor=0.3"), problems()), Random(0)
    drawn: Counter[int | None] = Counter()
    for batch in range(400):
        chosen = [curriculum.problem(batch, place) for place in range(4)]
        curriculum.observe(batch, counts(chosen, 4, random))
        drawn.update(one.difficulty for one in chosen)
    assert drawn[2] > 2 * max(drawn[1], drawn[3])
    assert min(drawn[1], drawn[3]) > 0.3 / 3 * 1600 * 0.7


def test_pools_are_shares_of_the_problems() -> None:
    curriculum = Curriculum(config("rollout.samples=8", "optimizer.micro_batch=8"), problems())
    assert curriculum.metrics(0) == {
        "pool_easy": 0,
        "pool_in_reach": 1,
        "pool_hopeless": 0,
        "estimated_pass_rate": pytest.approx(0.5),
    }
    for batch in range(40):
        curriculum.observe(batch, counts(problems(), 8, Random(batch)))
    found = curriculum.metrics(40)
    shares = (found["pool_easy"], found["pool_in_reach"], found["pool_hopeless"])
    assert shares == pytest.approx((1 / 3,) * 3, abs=0.1)
    assert found["estimated_pass_rate"] == pytest.approx(0.5, abs=0.05)


def test_checkpoint_after_a_batch_was_observed_has_the_state_before_it() -> None:
    """SIGTERM may arrive between the two; the checkpoint is then of the step before."""
    curriculum = Curriculum(config(), problems())
    curriculum.observe(0, counts(problems(), 4, Random(0)))
    before = curriculum.state(1)
    curriculum.observe(1, counts(problems(), 4, Random(1)))
    assert curriculum.state(1) == before
    assert curriculum.state(2) != before


def test_checkpoint_of_an_earlier_version_has_no_estimates(tmp_path: Path) -> None:
    checkpoint = TrainingCheckpoint(tmp_path / "checkpoint-7")
    checkpoint.path.mkdir()
    curriculum = Curriculum(config(), problems())
    curriculum.restore(7, checkpoint.curriculum)
    assert curriculum.problem(7, 0) in problems()
    assert curriculum.metrics(7)["pool_in_reach"] == 1


class BanditReplicas:
    """Answers by `RATES` and the seed, after a delay that differs between runs."""

    def __init__(self) -> None:
        self._golds = {one.text: one for one in problems()}
        self._delays = Random()

    async def rollout(self, prompts: list[pb.RolloutPrompt], *_: object, **__: object) -> list[pb.RolloutResponse]:
        await asyncio.sleep(self._delays.random() / 100)
        return [pb.RolloutResponse(id=prompt.id, trajectory=self._trajectory(prompt)) for prompt in prompts]

    def _trajectory(self, prompt: pb.RolloutPrompt) -> pb.Trajectory:
        one = self._golds[prompt.question]
        correct = Random(prompt.seed).random() < RATES[one.difficulty or 0]
        return pb.Trajectory(answer=one.answer if correct else "-1", status=pb.STATUS_ANSWERED)

    async def start(self, _step: int) -> None: ...

    async def close(self) -> None: ...


@contextmanager
def pipeline(folder: Path, settings: TrainConfig, rank: int = 0) -> Iterator[SamplingPipeline]:
    replicas = cast(Any, BanditReplicas())
    sampler = BatchSampler(settings, problems(), replicas, TrajectoryJournal(folder / str(rank)), rank)
    staleness = settings.rollout.staleness
    made = SamplingPipeline(sampler, replicas, batches=BATCHES, staleness=staleness, temperature_at=lambda _: 1.0)
    try:
        yield made
    finally:
        made.close()


def sampled(batches: SamplingPipeline, start: int, until: int) -> list[list[tuple[str, float]]]:
    """Take batches; return for each the problems of all groups, replaced ones included, with their passes."""
    taken = [batches.next(index, lambda: None, index) for index in range(start, until)]
    return [[(count.problem, count.passed) for count in batch.pass_counts] for batch in taken]


@pytest.mark.parametrize("staleness", [0, 1])
def test_killed_run_draws_the_same_problems_whenever_it_is_killed(tmp_path, staleness: int) -> None:
    settings = config(f"rollout.staleness={staleness}")
    with pipeline(tmp_path / "unkilled", settings) as batches:
        expected = sampled(batches, 0, BATCHES)
    assert any(len(batch) > 4 for batch in expected), "no flat group was replaced"
    assert len({tuple(batch) for batch in expected}) == BATCHES
    for checkpoint in range(BATCHES):
        folder = tmp_path / str(checkpoint)
        with pipeline(folder, settings) as batches:
            sampled(batches, 0, checkpoint)
            state = json.dumps(batches.sampler.curriculum.state(checkpoint))
            sampled(batches, checkpoint, min(checkpoint + 2, BATCHES))  # lost with the process, but for the journal
        with pipeline(folder, settings) as batches:
            batches.sampler.curriculum.restore(checkpoint, json.loads(state))
            assert sampled(batches, checkpoint, BATCHES) == expected[checkpoint:]


def test_processes_draw_the_problems_of_one(tmp_path) -> None:
    with pipeline(tmp_path / "one", config()) as batches:
        expected = sampled(batches, 0, BATCHES)
    settings = config("launch.processes=2", "rollout.staleness=0")
    with pipeline(tmp_path, settings, 0) as first, pipeline(tmp_path, settings, 1) as second:
        both = (first, second)
        for index in range(BATCHES):
            found = [one for batches in both for one in batches.next(index, lambda: None, index).pass_counts]
            for batches in both:  # observed again, now with the counts of both
                batches.sampler.curriculum.observe(index, found)
            assert sorted((one.problem, one.passed) for one in found) == sorted(expected[index])

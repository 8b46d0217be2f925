"""Training on problems of reasoning-gym: the score of a problem's own scorer is its accuracy reward."""

import json
import pickle
from pathlib import Path
from typing import Any, cast

import pytest
from deepmath_trainer.batch_sampler import BatchSampler
from deepmath_trainer.policy_evaluation import evaluate_policy
from deepmath_trainer.run_config import DataConfig, TrainConfig
from deepmath_trainer.run_config_parser import parse_config, read_recipe
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.step_metrics import batch_metrics
from deepmath_trainer.training_data import load_problems
from deepmath_trainer.training_worker import TrainingWorker
from deepmath_trainer.trajectory_journal import TrajectoryJournal

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.verdict import Reason

from .conftest import small

SOURCE = "reasoning-gym:number_sorting(max_numbers=6)+gcd"
TEST_SOURCE = "reasoning-gym:lcm"
SETTINGS = (
    *("rollout.groups=2", "rollout.samples=4", "optimizer.micro_batch=8", "reward.code=0"),
    *(f"data.dataset={SOURCE}", f"evaluation.data.dataset={TEST_SOURCE}", "evaluation.problems=4", "data.limit=12"),
)


class AnsweringReplicas:
    """Answers the samples of a problem with its answer, part of it, code that would print it, and nothing."""

    def __init__(self, problems: list[DatasetProblem]) -> None:
        self._answers = {problem.text: problem.answer for problem in problems}

    async def rollout(self, prompts: list[pb.RolloutPrompt], *_: object, **__: object) -> list[pb.RolloutResponse]:
        responses = []
        for number, prompt in enumerate(prompts):
            answer = self._answers[prompt.question]
            said = (answer, f"The answer is {answer}", f"str({answer!r})", "")[number % 4]
            trajectory = pb.Trajectory(answer=said, status=pb.STATUS_ANSWERED)
            responses.append(pb.RolloutResponse(id=prompt.id, trajectory=trajectory))
        return responses


def config(*overrides: str) -> TrainConfig:
    return parse_config(read_recipe("tiny-math"), [*SETTINGS, *overrides])


@pytest.fixture(scope="module")
def problems() -> list[DatasetProblem]:
    return load_problems(config().data, 0)


async def test_rewards_are_scores(problems: list[DatasetProblem], tmp_path: Path) -> None:
    wanted = config()
    replicas = AnsweringReplicas(problems)
    sampler = BatchSampler(wanted, problems, cast(Any, replicas), TrajectoryJournal(tmp_path / "journal"))
    tests = load_problems(wanted.evaluation.data, 0, most=4)
    try:
        batch = await sampler.sample(0, 1.0)
        figures = await evaluate_policy(wanted, tests, cast(Any, AnsweringReplicas(tests)), sampler.verifier)
    finally:
        sampler.close()
    for group in batch.groups:
        full, partial, _, empty = group.samples
        assert (full.reward.total, full.reason) == (1.0, Reason.FULL_SCORE)
        assert partial.reward.total == partial.outcome.score
        assert partial.outcome.score is not None
        assert partial.outcome.score < 1
        assert (empty.reward.total, empty.reason) == (0.0, Reason.ANSWER_EMPTY)
    gcd = [group for group in batch.groups if group.problem.entry and group.problem.entry.task.name == "gcd"]
    assert all(0 < (group.samples[1].outcome.score or 0) < 1 for group in gcd)
    metrics = batch_metrics(batch)
    assert metrics["accuracy"] == 0.25
    assert 0.25 <= metrics["score"] < 0.75
    assert figures["accuracy"] == 0.25
    assert 0.25 < figures["score"] < 1


async def test_partial_credit_can_be_off(problems: list[DatasetProblem], tmp_path: Path) -> None:
    wanted = config("reward.partial_credit=false")
    replicas = cast(Any, AnsweringReplicas(problems))
    sampler = BatchSampler(wanted, problems, replicas, TrajectoryJournal(tmp_path / "journal"))
    try:
        batch = await sampler.sample(0, 1.0)
    finally:
        sampler.close()
    assert [sample.reward.total for sample in batch.samples] == [1.0, 0.0, 0.0, 0.0] * 2


def test_problems_are_those_of_the_seed(problems: list[DatasetProblem]) -> None:
    assert load_problems(config().data, 0, most=5) == problems[:5]
    assert len(problems) == 12
    assert all(one.entry and pickle.loads(one.entry.pickled)["question"] in one.text for one in problems)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"where": {"level": 1}}, "data.where does not apply"),
        ({"problem": "question"}, "data.problem does not apply"),
        ({"split": "dev"}, "must be 'train' or 'test'"),
        ({"max_problem_chars": 3}, "longer than data.max_problem_chars"),
    ],
)
def test_settings_of_files_do_not_apply(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        load_problems(DataConfig(dataset="reasoning-gym:gcd", limit=2, **settings), 0)


def test_run_is_not_resumed_with_another_version(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.check_sources({"reasoning-gym": "0.1.25"}, resumed=False)
    folder.check_sources({"reasoning-gym": "0.1.25"}, resumed=True)
    with pytest.raises(InvalidRequest, match=r"began with reasoning-gym 0\.1\.25, but 0\.2\.0 is installed"):
        folder.check_sources({"reasoning-gym": "0.2.0"}, resumed=True)
    folder.check_sources({"reasoning-gym": "0.2.0"}, resumed=False)  # nothing was trained yet
    folder.check_sources({}, resumed=True)


def test_worker_checks_the_version_when_it_resumes(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    TrainingWorker(folder, config(), 0)._check_sources(resumed=False)
    (tmp_path / "sources.json").write_text('{"reasoning-gym": "0.0.1"}')
    with pytest.raises(InvalidRequest, match=r"began with reasoning-gym 0\.0\.1"):
        TrainingWorker(folder, config(), 0)._check_sources(resumed=True)
    other = parse_config(read_recipe("tiny-math"))
    TrainingWorker(folder, other, 0)._check_sources(resumed=True)


@pytest.mark.slow
async def test_run_on_the_services_is_trained_by_scores(serve_generator, worker, tmp_path: Path) -> None:
    overrides = (*SETTINGS[4:], "optimizer.steps=2", "report_to=[]", "evaluation.problems=2")
    async with serve_generator() as served:
        run = await worker(tmp_path / "run", small(served.address, *overrides))
        assert await run.ended() == "done"
    assert list(json.loads((tmp_path / "run" / "sources.json").read_text())) == ["reasoning-gym"]
    lines = run.folder.read_metrics()
    assert [line["step"] for line in lines] == [1, 2]
    assert all("score" in line["metrics"] for line in lines)
    assert {"before", "after"} <= run.folder.read_evaluation().keys()

"""Metrics of a step: means without infrastructure failures, and shares of its time."""

from types import SimpleNamespace
from typing import Any

import pytest
from deepmath_trainer import step_metrics
from deepmath_trainer.rewards import Outcome, Reward
from deepmath_trainer.rollout_batch import RolloutBatch, RolloutGroup, TrainingSample
from deepmath_trainer.step_metrics import StepTimer, batch_metrics

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.verdict import Reason

PROBLEM = DatasetProblem.of("1 + 1?", "2")


def sample(
    correct: bool | None, reward: float | None, version: int = 0, reason: Reason | None = None
) -> TrainingSample:
    status = pb.STATUS_INFRASTRUCTURE_FAILED if correct is None and reason is None else pb.STATUS_ANSWERED
    segment = pb.Segment(source=pb.Segment.SOURCE_MODEL, logprobs=[-0.5], policy_version=version)
    outcome = Outcome(correct, called=True, executed=False, used=False, model_tokens=10, truncated=False)
    trajectory = pb.Trajectory(status=status, segments=[segment], model_tokens=10)
    return TrainingSample(trajectory, outcome, Reward(reward), reason)


def batch(*groups: list[TrainingSample], **values: Any) -> RolloutBatch:
    return RolloutBatch(0, 1.0, [RolloutGroup(PROBLEM, group) for group in groups], **values)


def test_failed_samples_are_counted_and_excluded_from_the_means() -> None:
    metrics = batch_metrics(batch([sample(True, 1.0), sample(False, 0.0)], [sample(True, 1.0), sample(None, None)]))
    assert metrics["infrastructure_failures"] == 1
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["flat_groups"] == 1


def test_verdicts_are_counted_by_reason_and_accuracy_is_over_verdicts() -> None:
    metrics = batch_metrics(
        batch(
            [sample(True, 1.0, reason=Reason.SAME_VALUE), sample(False, 0.0, reason=Reason.ANSWER_TIMEOUT)],
            [sample(False, 0.0, reason=Reason.ANSWER_TIMEOUT), sample(None, None, reason=Reason.GOLD_UNREADABLE)],
            [sample(None, None)],
        )
    )
    counts = {name: count for name, count in metrics.items() if name.startswith("verdict_")}
    assert counts == {"verdict_same_value": 1, "verdict_answer_timeout": 2, "verdict_gold_unreadable": 1}
    assert metrics["accuracy"] == pytest.approx(1 / 3)
    assert metrics["infrastructure_failures"] == 1


def test_batch_of_failures_has_zeros() -> None:
    metrics = batch_metrics(batch([sample(None, None)]))
    assert (metrics["accuracy"], metrics["model_tokens"]) == (0.0, 0.0)


def test_staleness_is_the_mean_over_segments() -> None:
    made = batch([sample(True, 1.0, version=2), sample(True, 1.0, version=3)])
    assert made.mean_staleness(step=3) == 0.5


def test_time_of_a_step_is_divided_into_waiting_and_training(monkeypatch: pytest.MonkeyPatch) -> None:
    now, busy = 100.0, 0.0
    monkeypatch.setattr(step_metrics, "time", SimpleNamespace(monotonic=lambda: now))
    timer = StepTimer(lambda: busy)
    for step_seconds in (10.0, 20.0):
        with timer.waiting():
            now += step_seconds / 5
        busy += step_seconds / 2
        now += step_seconds * 4 / 5
        times = timer.end_step(batch(started=1.0, ended=4.0), trajectories=40)
        assert times == pytest.approx(
            {
                "generate_seconds": 3.0,
                "train_seconds": step_seconds * 4 / 5,
                "step_seconds": step_seconds,
                "samples_per_s": 40 / step_seconds,
                "trainer_idle": 0.2,
                "generator_idle": 0.5,
            }
        )

"""Training with every kind of loss and weights, on batches without an engine."""

from collections import Counter
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from deepmath_trainer.checkpoint_store import CheckpointStore
from deepmath_trainer.rewards import Reward, outcome
from deepmath_trainer.rollout_batch import RolloutBatch, RolloutGroup, TrainingSample
from deepmath_trainer.run_folder import RunFolder

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.generator.v1 import generator_pb2 as pb

from .conftest import small

pytestmark = pytest.mark.slow
STEPS = 2
PROBLEM = DatasetProblem.of("1 + 1?", "2")


class RandomBatches:
    """Stands in for the sampling pipeline: random tokens and rewards, and a record of the policies."""

    def __init__(self) -> None:
        self.replicas = SimpleNamespace(run="a")
        self.sampler = SimpleNamespace(verifier=SimpleNamespace(reasons=Counter()))
        self.generators_are_fresh, self.busy_seconds = True, 0.0
        self.published: list[str] = []

    def next(self, index: int, policy: Any, step: int) -> RolloutBatch:
        if folder := policy():
            self.published.append(folder.name)
        random = Random(index)
        groups = [RolloutGroup(PROBLEM, [_sample(random, step) for _ in range(4)]) for _ in range(2)]
        return RolloutBatch(index, 1.0, groups, ended=1.0)

    def discard_before(self, batch: int) -> None:
        pass


def _sample(random: Random, version: int) -> TrainingSample:
    tokens = [random.randrange(20, 400) for _ in range(random.randint(3, 9))]
    segment = pb.Segment(
        source=pb.Segment.SOURCE_MODEL, token_ids=tokens, logprobs=[-1.0] * len(tokens), policy_version=version
    )
    trajectory = pb.Trajectory(prompt_token_ids=[5, 6, 7], segments=[segment], model_tokens=len(tokens))
    return TrainingSample(trajectory, outcome(trajectory, True), Reward(float(random.random() < 0.5)))


@pytest.mark.parametrize(
    "settings",
    [
        ("loss.type=grpo", "loss.scale_rewards=none"),
        ("loss.beta=0.04", "loss.reference_every=1", "rollout.staleness=0", "optimizer.micro_batch=4"),
        ("optimizer.updates=2", "optimizer.micro_batch=4", "loss.type=cispo"),
        ("lora=null", "checkpoint_root=/nowhere", "loss.beta=0.04", "loss.reference_every=1"),
        ("loss.importance_correction=false", "launch.gradient_checkpointing=true"),
    ],
    ids=" ".join,
)
def test_settings_train_publish_and_write_checkpoints(tmp_path: Path, settings: tuple[str, ...]) -> None:
    from deepmath_trainer.grpo_trainer import GrpoTrainer
    from deepmath_trainer.sampling_pipeline import SamplingPipeline

    own = (f"optimizer.steps={STEPS}", "checkpoint.every=2", "report_to=[]")
    config, pipeline, metrics = small("unused", *own, *settings), RandomBatches(), []
    trainer: Any = GrpoTrainer(
        config,
        RunFolder(tmp_path),
        cast(SamplingPipeline, pipeline),
        lambda _step, values, _batch: metrics.append(values),
    )
    assert trainer.args.ddp_timeout > 3600 + config.generator_patience_s, "other processes wait for an evaluation"
    assert trainer.run(None)
    assert len(metrics) == STEPS
    assert all(values["grad_norm"] > 0 for values in metrics)
    assert all(("kl" in values) == bool(config.loss.beta) for values in metrics)
    assert ("importance_ratio_mean" in metrics[0]) == config.loss.importance_correction
    assert pipeline.published == ([] if config.optimizer.updates == 2 else ["step-1"])
    assert [checkpoint.step for checkpoint in CheckpointStore(tmp_path / "checkpoints").all()] == [STEPS]

"""Training with every kind of loss and weights, on batches without an engine: gradients and metrics are TRL's own."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from deepmath_trainer.checkpoint_store import CheckpointStore
from deepmath_trainer.curriculum import Curriculum
from deepmath_trainer.rewards import Reward, outcome
from deepmath_trainer.rollout_batch import RolloutBatch, RolloutGroup, TrainingSample
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.run_folder import RunFolder

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.generator.v1 import generator_pb2 as pb

from .conftest import EXACT, small

pytestmark = pytest.mark.slow
STEPS = 2
PROBLEM = DatasetProblem.of("1 + 1?", "2")
COMPARED = {"loss", "grad_norm", "kl", "entropy", "clip_ratio", "importance_ratio_mean", "importance_ratio_min"} | {
    "importance_ratio_max",
    "logp_difference_mean",
    "logp_difference_max",
}


class RandomBatches:
    """Stands in for the sampling pipeline: random tokens and rewards, and a record of the policies."""

    def __init__(self, config: TrainConfig) -> None:
        self.replicas = SimpleNamespace(run="a")
        self.sampler = SimpleNamespace(
            verifier=SimpleNamespace(reasons=Counter()), curriculum=Curriculum(config, [PROBLEM])
        )
        self.generators_are_fresh, self.busy_seconds = True, 0.0
        self.published: list[str] = []

    def next(self, index: int, policy: Any, step: int) -> RolloutBatch:
        if folder := policy():
            self.published.append(folder.name)
        random = Random(index)
        groups = [RolloutGroup(PROBLEM, [_sample(random, step, row) for row in range(4)]) for _ in range(2)]
        batch = RolloutBatch(index, 0.7, groups, ended=1.0)
        self.sampler.curriculum.observe(index, batch.pass_counts)
        return batch

    def discard_before(self, batch: int) -> None:
        pass


def _sample(random: Random, version: int, row: int) -> TrainingSample:
    """Return a sample of any length. The first of a group fails before its first token, the second is correct."""
    tokens = [random.randrange(20, 400) for _ in range(random.randint(1, 30))] if row else []
    segment = pb.Segment(
        source=pb.Segment.SOURCE_MODEL, token_ids=tokens, logprobs=[-1.0] * len(tokens), policy_version=version
    )
    trajectory = pb.Trajectory(prompt_token_ids=[5, 6, 7], segments=[segment] if row else [], model_tokens=len(tokens))
    reward = None if not row else 1.0 if row == 1 else float(random.random() < 0.5)
    return TrainingSample(trajectory, outcome(trajectory, True), Reward(reward))


@dataclass
class Trained:
    """A training and its metrics."""

    trainer: Any
    pipeline: RandomBatches
    finished: bool
    metrics: list[dict[str, float]]
    """Of each optimizer step."""
    gradients: list[Any]
    """Of each optimizer step, (trained weights,)."""


def trained(folder: Path, settings: tuple[str, ...], *hooks: Any) -> Trained:
    """Train, with the private methods of TRL's trainer that are named by `hooks` in place of ours."""
    import torch
    from deepmath_trainer.grpo_trainer import GrpoTrainer
    from deepmath_trainer.sampling_pipeline import SamplingPipeline
    from transformers import TrainerCallback
    from trl import GRPOTrainer

    class Gradients(TrainerCallback):
        def on_pre_optimizer_step(self, *_: Any, model: Any, **__: Any) -> None:
            found.gradients.append(torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None]))

    folder.mkdir()
    own = (f"optimizer.steps={STEPS}", "checkpoint.every=2", "report_to=[]")
    config = small("unused", EXACT, *own, *settings)
    pipeline = RandomBatches(config)
    found = Trained(None, pipeline, False, [], [])
    trainer_class = type("TestedTrainer", (GrpoTrainer,), {name: getattr(GRPOTrainer, name) for name in hooks})
    found.trainer = trainer_class(
        config,
        RunFolder(folder),
        cast(SamplingPipeline, pipeline),
        lambda _step, values, _batch: found.metrics.append(values),
    )
    found.trainer.add_callback(Gradients())
    found.finished = found.trainer.run(None)
    return found


@pytest.fixture
def use_trl_tiles(monkeypatch) -> Callable[[], None]:
    """Make trainers that are built from now on use TRL's tiles, until the test ends."""
    from deepmath_trainer import grpo_trainer
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    def use() -> None:
        monkeypatch.setattr(grpo_trainer, "use_cpu_tiles", lambda: None)
        monkeypatch.setattr(chunked_logprob, "TOKEN_CHUNK_SIZE", 4096)
        monkeypatch.setattr(utils, "_CHUNKED_LOGPROB_CHUNK_SIZE", 32768)
        monkeypatch.setattr(utils, "_use_triton", lambda _: False)

    return use


@pytest.mark.parametrize(
    "settings",
    [
        ("loss.type=grpo", "loss.scale_rewards=none"),
        ("loss.beta=0.04", "loss.reference_every=1", "rollout.staleness=0", "optimizer.micro_batch=4"),
        ("optimizer.updates=2", "optimizer.micro_batch=4", "loss.type=cispo"),
        ("lora=null", "checkpoint_root=/nowhere", "loss.beta=0.04", "loss.reference_every=1"),
        ("loss.importance_correction=false", "launch.gradient_checkpointing=true"),
        ("optimizer.micro_batch=2", "loss.scale_rewards=batch"),
        ("optimizer.micro_batch=4", "loss.type=bnpo", "loss.beta=0.04", "lora={rank: 4, targets: [q_proj, up_proj]}"),
    ],
    ids=" ".join,
)
def test_settings_train_as_trl_does_publish_and_write_checkpoints(
    tmp_path: Path, use_trl_tiles: Callable[[], None], settings: tuple[str, ...]
) -> None:
    found = trained(tmp_path / "own", settings)
    config = found.trainer._config
    assert found.trainer.args.ddp_timeout > 3600 + config.generator_patience_s, "other processes wait for an evaluation"
    assert found.finished
    assert len(found.metrics) == STEPS
    assert all(values["grad_norm"] > 0 for values in found.metrics)
    assert all(("kl" in values) == bool(config.loss.beta) for values in found.metrics)
    assert ("importance_ratio_mean" in found.metrics[0]) == config.loss.importance_correction
    assert found.pipeline.published == ([] if config.optimizer.updates == 2 else ["step-1"])
    assert [one.step for one in CheckpointStore(tmp_path / "own" / "checkpoints").all()] == [STEPS]

    use_trl_tiles()
    expected = trained(tmp_path / "trl", settings, "_compute_loss", "_get_per_token_logps_and_entropies")
    for one, other in zip(found.gradients, expected.gradients, strict=True):
        assert (one - other).norm() < 1e-3 * other.norm()
    for values, others in zip(found.metrics, expected.metrics, strict=True):
        assert values.keys() == others.keys()
        compared = COMPARED & values.keys()
        assert {"loss", "entropy", "grad_norm"} <= compared
        assert {key: values[key] for key in compared} == pytest.approx(
            {key: others[key] for key in compared}, rel=2e-3, abs=2e-5
        )

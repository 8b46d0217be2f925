"""The loss gets exactly what was sampled, at the temperature at which it was sampled."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from deepmath_trainer.finite_policy import TrainingDiverged

from .conftest import EXACT, RecordedRun, small, trained_in_process

pytestmark = pytest.mark.slow
ON_POLICY = "rollout.staleness=0"
Row = tuple[list[int], list[int], list[int], list[float]]
"""Prompt, completion, mask and log-probabilities."""


@pytest.fixture(scope="module")
async def on_policy(serve_generator, tmp_path_factory) -> AsyncIterator[RecordedRun]:
    """Three steps, each on a batch of the newest policy, while the temperature falls."""
    schedule = "rollout.temperature={start: 1.2, end: 0.7, steps: 2}"
    async with serve_generator() as served:
        config = small(served.address, EXACT, "optimizer.steps=3", ON_POLICY, schedule)
        async with trained_in_process(config, tmp_path_factory.mktemp("on-policy") / "run") as run:
            yield run


@pytest.fixture(scope="module")
async def off_policy(serve_generator, tmp_path_factory) -> AsyncIterator[RecordedRun]:
    """Three steps, the later two each on a batch of the policy before the newest."""
    rate = ("optimizer.learning_rate=2e-3", "optimizer.schedule=constant")
    async with serve_generator() as served:
        config = small(served.address, EXACT, "optimizer.steps=3", *rate)
        async with trained_in_process(config, tmp_path_factory.mktemp("off-policy") / "run") as run:
            yield run


@pytest.fixture(scope="module")
async def one_step(serve_generator, tmp_path_factory) -> AsyncIterator[RecordedRun]:
    """A run of one step, whose trainer tests may call; they leave it as it was."""
    async with serve_generator() as served:
        config = small(served.address, EXACT, "optimizer.steps=1", ON_POLICY)
        async with trained_in_process(config, tmp_path_factory.mktemp("one-step") / "run") as run:
            yield run


@pytest.fixture
def trainer(one_step: RecordedRun) -> Any:
    return one_step.trainer


@pytest.fixture
def loss(one_step: RecordedRun) -> dict[str, Any]:
    """A copy of the tensors that the loss of the step got."""
    return {name: tensor.clone() for name, tensor in one_step.losses[0].items()}


def rows(loss: dict[str, Any]) -> list[Row]:
    """Return the trajectories in a loss, without padding, in sorted order."""
    found = []
    for i in range(len(loss["prompt_ids"])):
        real = loss["completion_mask"][i].bool()
        prompt = loss["prompt_ids"][i][loss["prompt_mask"][i].bool()].tolist()
        parts = (loss["completion_ids"], loss["tool_mask"], loss["sampling_per_token_logps"])
        found.append((prompt, *(part[i][real].tolist() for part in parts)))
    return sorted(found)


def sampled(batch) -> list[Row]:
    """Return the trajectories of a batch as the generator returned them, in sorted order."""
    found = []
    for sample in batch.samples:
        ids: list[int] = []
        mask: list[int] = []
        logprobs: list[float] = []
        for segment in sample.trajectory.segments:
            ids += segment.token_ids
            mask += [int(segment.source == segment.SOURCE_MODEL)] * len(segment.token_ids)
            logprobs += segment.logprobs or [0.0] * len(segment.token_ids)
        found.append((list(sample.trajectory.prompt_token_ids), ids, mask, logprobs))
    return sorted(found)


async def test_ids_masks_and_log_probabilities_in_the_loss_are_those_that_were_sampled(off_policy) -> None:
    assert len(off_policy.losses) == len(off_policy.batches) == 3
    for loss, batch in zip(off_policy.losses, off_policy.batches, strict=True):
        assert rows(loss) == sampled(batch)
    assert any(0 in mask for batch in off_policy.batches for _, _, mask, _ in sampled(batch)), "no tool was called"


async def test_tokens_of_tools_have_no_gradient(trainer, loss, monkeypatch) -> None:
    import torch

    mask = loss["completion_mask"] * loss["tool_mask"]
    leaf: Any = None

    def scored(*_, **__):
        nonlocal leaf
        leaf = loss["sampling_per_token_logps"].clone().requires_grad_()
        return leaf, torch.zeros_like(leaf), None

    monkeypatch.setattr(trainer, "_get_per_token_logps_and_entropies", scored)
    trainer._compute_loss(trainer.model, loss).backward()
    assert leaf.grad[mask == 0].abs().max() == 0
    assert leaf.grad[mask == 1].abs().max() > 0


async def test_importance_ratio_is_1_if_the_policy_sampled_itself(on_policy) -> None:
    for metrics in on_policy.metrics:
        assert metrics["staleness"] == 0
        assert metrics["importance_ratio_min"] == pytest.approx(1, abs=2e-3)
        assert metrics["importance_ratio_max"] == pytest.approx(1, abs=2e-3)


async def test_importance_ratio_shows_a_policy_one_step_behind(off_policy) -> None:
    assert [metrics["staleness"] for metrics in off_policy.metrics] == [0, 1, 1]
    assert off_policy.metrics[0]["importance_ratio_max"] == pytest.approx(1, abs=2e-3)
    assert off_policy.metrics[2]["importance_ratio_max"] > 1.01


async def test_temperature_of_the_loss_is_that_of_sampling_throughout_the_schedule(on_policy) -> None:
    assert [metrics["temperature"] for metrics in on_policy.metrics] == pytest.approx([1.2, 0.95, 0.7])
    for batch, metrics in zip(on_policy.batches, on_policy.metrics, strict=True):
        segments = [segment for one in batch.samples for segment in one.trajectory.segments if segment.logprobs]
        assert {round(segment.temperature, 6) for segment in segments} == {round(metrics["temperature"], 6)}
        # Scored again by the trainer: with different temperatures this would be a thousand times as large.
        assert metrics["logp_difference_max"] < 2e-3


async def test_wrong_temperature_in_the_loss_would_be_detected(one_step, trainer, loss) -> None:
    import torch
    from deepmath_trainer.trl_patches.loss_temperature import set_loss_temperature

    ids = torch.cat([loss["prompt_ids"], loss["completion_ids"]], dim=1)
    attention = torch.cat([loss["prompt_mask"], loss["completion_mask"]], dim=1)
    mask = (loss["completion_mask"] * loss["tool_mask"]).bool()
    set_loss_temperature(trainer.model, 1.05)
    try:
        with torch.no_grad(), without_correction(trainer):
            scored, _, _ = trainer._get_per_token_logps_and_entropies(
                trainer.model, ids, attention, loss["completion_ids"].shape[1]
            )
    finally:
        set_loss_temperature(trainer.model, one_step.batches[0].temperature)
    assert (scored - loss["sampling_per_token_logps"])[mask].abs().max() > 0.01


async def test_failed_trajectory_has_no_reward_and_no_loss(generator_without_executor, tmp_path) -> None:
    config = small(generator_without_executor, "optimizer.steps=1")
    async with trained_in_process(config, tmp_path / "run") as run:
        (batch,), (metrics,), (loss,) = run.batches, run.metrics, run.losses
    failed = [sample for sample in batch.samples if sample.failed]
    assert metrics["infrastructure_failures"] == len(failed) > 0
    assert {sample.reward.total for sample in failed} == {None}
    in_loss = (loss["completion_mask"] * loss["tool_mask"]).sum(dim=1)
    assert (in_loss == 0).sum() == len(failed)
    assert loss["advantages"][in_loss == 0].abs().max() == 0


@contextmanager
def without_correction(trainer: Any) -> Iterator[None]:
    """Let the trainer score a batch before its loss, as TRL does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "correction", None)
        yield


def loss_and_gradients(trainer: Any, loss: dict[str, Any], trainer_class: Any) -> tuple[Any, list[Any]]:
    """Return the loss as `trainer_class` computes it, and the gradient of each weight."""
    trainer.model.zero_grad()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_get_per_token_logps_and_entropies", "_compute_loss"):
            patch.setattr(trainer, name, getattr(trainer_class, name).__get__(trainer))
        value = trainer._compute_loss(trainer.model, loss)
    value.backward()
    return value.detach(), [weight.grad.clone() for weight in trainer.model.parameters() if weight.grad is not None]


def scored_before(trainer: Any, loss: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs of TRL's loss: with the scores before it, and the ratios that follow from them."""
    import torch
    from trl import GRPOTrainer

    ids = torch.cat([loss["prompt_ids"], loss["completion_ids"]], dim=1)
    attention = torch.cat([loss["prompt_mask"], loss["completion_mask"]], dim=1)
    score = GRPOTrainer._get_per_token_logps_and_entropies.__get__(trainer)
    with torch.no_grad():
        scores, _, _ = score(trainer.model, ids, attention, loss["completion_ids"].shape[1])
    difference = (scores - loss["sampling_per_token_logps"]) * loss["completion_mask"] * loss["tool_mask"]
    return loss | {"old_per_token_logps": scores, "importance_sampling_ratio": difference.exp().clamp(max=3)}


@pytest.mark.parametrize("flat", [0, 5, 8])
async def test_loss_and_gradients_are_those_of_trl_which_pads_and_scores_twice(trainer, loss, flat: int) -> None:
    import torch
    from deepmath_trainer.grpo_trainer import GrpoTrainer
    from trl import GRPOTrainer

    loss["advantages"] = torch.linspace(-1.5, 2.0, len(loss["advantages"]))
    loss["advantages"][:flat] = 0  # these rows are scored without a gradient
    loss["sampling_per_token_logps"] += torch.linspace(-2, 2, loss["completion_ids"].shape[1])  # another policy
    found = loss_and_gradients(trainer, loss, GrpoTrainer)
    expected = loss_and_gradients(trainer, scored_before(trainer, loss), GRPOTrainer)
    torch.testing.assert_close(found[0], expected[0])
    for one, other in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


async def test_metrics_of_the_ratios_are_over_all_losses_of_a_batch(trainer, loss) -> None:
    import torch

    metrics, prefix = trainer._metrics["train"], "sampling/importance_sampling_ratio"
    metrics.update({f"{prefix}/{name}": [1.0] for name in ("min", "mean", "max")})
    ids = torch.cat([loss["prompt_ids"], loss["completion_ids"]], dim=1)
    trainer.correction.skip_scores(ids, loss["completion_ids"].shape[1])
    expected = scored_before(trainer, loss)["importance_sampling_ratio"]
    seen = []
    for shift, rows in ((0.5, slice(4)), (-0.5, slice(4, 8))):
        part = {name: value[rows] if value.ndim else value for name, value in loss.items()}
        part["sampling_per_token_logps"] = part["sampling_per_token_logps"] - shift
        trainer._compute_loss(trainer.model, part)
        in_loss = (part["completion_mask"] * part["tool_mask"]).bool()
        seen += (expected[rows][in_loss] * torch.tensor(shift).exp()).clamp(max=3).tolist()
    found = [metrics.pop(f"{prefix}/{name}") for name in ("min", "mean", "max")]
    metrics.clear()
    assert found == [pytest.approx([value], rel=1e-3) for value in (min(seen), sum(seen) / len(seen), max(seen))]


async def test_a_step_scores_its_batch_once(trainer, loss, monkeypatch) -> None:
    import torch

    calls: list[int] = []
    forward = trainer._unwrapped_model().forward

    def counted(**batch):
        calls.append(len(batch["input_ids"]))
        return forward(**batch)

    monkeypatch.setattr(trainer._unwrapped_model(), "forward", counted)
    ids = torch.cat([loss["prompt_ids"], loss["completion_ids"]], dim=1)
    trainer._get_per_token_logps_and_entropies(trainer.model, ids, torch.ones_like(ids), 1)
    assert calls == []
    trainer._compute_loss(trainer.model, loss)
    assert sum(calls) == len(ids)


@pytest.fixture
def weight(trainer: Any) -> Iterator[Any]:
    """A weight of the adapter, restored after the test."""
    import torch

    parameter = [value for value in trainer._unwrapped_model().parameters() if value.requires_grad][-1]
    before = parameter.detach().clone()
    yield parameter.data.view(-1)[-1:]
    with torch.no_grad():
        parameter.copy_(before)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_diverged_policy_is_neither_published_nor_saved(trainer, weight, tmp_path, value) -> None:
    trainer.save_policy(tmp_path / "finite")
    weight.fill_(value)
    for step in (lambda: trainer.save_policy(tmp_path / "diverged"), trainer._after_step):
        with pytest.raises(TrainingDiverged, match=r"training diverged: after step 1, .*lora.* is NaN or infinite"):
            step()
    assert [path.name for path in tmp_path.iterdir()] == ["finite"]

"""What the loss gets is what was sampled, at the temperature at which it was sampled."""

import pytest
import torch

pytestmark = pytest.mark.slow
STALE = "rollout.staleness=0"


def rows(loss: dict[str, torch.Tensor]) -> list[tuple[list[int], list[int], list[int], list[float]]]:
    """Prompt, completion, mask and log-probabilities of each trajectory in a loss, without padding; in any order."""
    found = []
    for i in range(len(loss["prompt_ids"])):
        real = loss["completion_mask"][i].bool()
        prompt = loss["prompt_ids"][i][loss["prompt_mask"][i].bool()].tolist()
        parts = (loss["completion_ids"], loss["tool_mask"], loss["sampling_per_token_logps"])
        found.append((prompt, *(part[i][real].tolist() for part in parts)))
    return sorted(found)


def sampled(batch) -> list[tuple[list[int], list[int], list[int], list[float]]]:
    """The same of the trajectories as the generator returned them."""
    found = []
    for sample in batch.samples:
        ids, mask, logprobs = [], [], []
        for segment in sample.trajectory.segments:
            ids += segment.token_ids
            mask += [int(segment.source == segment.SOURCE_MODEL)] * len(segment.token_ids)
            logprobs += segment.logprobs or [0.0] * len(segment.token_ids)
        found.append((list(sample.trajectory.prompt_token_ids), ids, mask, logprobs))
    return sorted(found)


async def test_ids_masks_and_log_probabilities_in_the_loss_are_those_that_were_sampled(train) -> None:
    run = await train("optimizer.steps=2")
    assert len(run.losses) == len(run.batches) == 2
    for loss, batch in zip(run.losses, run.batches, strict=True):
        assert rows(loss) == sampled(batch)
    assert any(0 in mask for batch in run.batches for _, _, mask, _ in sampled(batch)), "no tool was called"


async def test_tokens_of_tools_have_no_gradient(train) -> None:
    run = await train("optimizer.steps=1")
    (loss,) = run.losses
    mask = loss["completion_mask"] * loss["tool_mask"]
    leaf = None

    def scored(*_, **__):
        nonlocal leaf
        leaf = loss["old_per_token_logps"].clone().requires_grad_()
        return leaf, torch.zeros_like(leaf), None

    run.trainer._get_per_token_logps_and_entropies = scored
    run.trainer._compute_loss(run.trainer.model, loss).backward()
    assert leaf.grad[mask == 0].abs().max() == 0
    assert leaf.grad[mask == 1].abs().max() > 0


async def test_importance_ratio_is_1_where_the_policy_sampled_itself(train) -> None:
    run = await train("optimizer.steps=3", STALE)
    for metrics in run.metrics:
        assert metrics["staleness"] == 0
        assert metrics["importance_ratio_min"] == pytest.approx(1, abs=2e-3)
        assert metrics["importance_ratio_max"] == pytest.approx(1, abs=2e-3)


async def test_importance_ratio_tells_of_a_policy_one_step_behind(train) -> None:
    run = await train("optimizer.steps=3", "optimizer.learning_rate=2e-3", "optimizer.schedule=constant")
    assert [metrics["staleness"] for metrics in run.metrics] == [0, 1, 1]
    assert run.metrics[0]["importance_ratio_max"] == pytest.approx(1, abs=2e-3)
    assert run.metrics[2]["importance_ratio_max"] > 1.01


async def test_temperature_of_the_loss_is_that_of_sampling_all_along_the_schedule(train) -> None:
    schedule = "rollout.temperature={start: 1.2, end: 0.7, steps: 2}"
    run = await train("optimizer.steps=3", STALE, schedule)
    assert [metrics["temperature"] for metrics in run.metrics] == pytest.approx([1.2, 0.95, 0.7])
    for batch, metrics in zip(run.batches, run.metrics, strict=True):
        told = {round(s.temperature, 6) for one in batch.samples for s in one.trajectory.segments if s.logprobs}
        assert told == {round(metrics["temperature"], 6)}
        # Scored again by the trainer: were the temperatures not the same, this would be a thousand times as large.
        assert metrics["logp_difference_max"] < 2e-3


async def test_wrong_temperature_in_the_loss_would_be_seen(train) -> None:
    from deepmath_trainer import grpo_trainer

    run = await train("optimizer.steps=1", STALE)
    (loss,) = run.losses
    ids = torch.cat([loss["prompt_ids"], loss["completion_ids"]], dim=1)
    attention = torch.cat([loss["prompt_mask"], loss["completion_mask"]], dim=1)
    mask = (loss["completion_mask"] * loss["tool_mask"]).bool()
    grpo_trainer.set_loss_temperature(run.trainer.model, 1.05)
    with torch.no_grad():
        scored, _, _ = run.trainer._get_per_token_logps_and_entropies(
            run.trainer.model, ids, attention, loss["completion_ids"].shape[1]
        )
    assert (scored - loss["sampling_per_token_logps"])[mask].abs().max() > 0.01


async def test_failed_trajectory_has_no_reward_and_no_loss(train, generator_without_executor) -> None:
    run = await train("optimizer.steps=1", f"generators=['{generator_without_executor}']")
    (batch,), (metrics,), (loss,) = run.batches, run.metrics, run.losses
    failed = [sample for sample in batch.samples if sample.failed]
    assert metrics["infrastructure_failures"] == len(failed) > 0
    assert {sample.reward.total for sample in failed} == {None}
    in_loss = (loss["completion_mask"] * loss["tool_mask"]).sum(dim=1)
    assert (in_loss == 0).sum() == len(failed)
    assert loss["advantages"][in_loss == 0].abs().max() == 0


def gradients_of(trainer, loss: dict[str, torch.Tensor], scoring) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The loss, and the gradient of each weight, with a class's way of scoring."""
    trainer.model.zero_grad()
    trainer._get_per_token_logps_and_entropies = scoring._get_per_token_logps_and_entropies.__get__(trainer)
    value = trainer._compute_loss(trainer.model, loss)
    value.backward()
    return value.detach(), [weight.grad.clone() for weight in trainer.model.parameters() if weight.grad is not None]


def assert_same(ours, theirs) -> None:
    torch.testing.assert_close(ours[0], theirs[0])
    for one, other in zip(ours[1], theirs[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("flat", [0, 5, 8])
async def test_values_and_gradients_are_those_of_the_padded_batch(train, flat: int) -> None:
    from deepmath_trainer.grpo_trainer import GrpoTrainer
    from trl import GRPOTrainer

    run = await train("optimizer.steps=1", STALE)
    (loss,) = run.losses
    loss["advantages"] = torch.linspace(-1.5, 2.0, len(loss["advantages"]))
    loss["advantages"][:flat] = 0  # ours has no gradient to compute for these
    assert_same(*(gradients_of(run.trainer, loss, scoring) for scoring in (GrpoTrainer, GRPOTrainer)))


async def test_scores_from_before_the_loss_have_its_values_and_gradients_in_any_order_of_the_rows(train) -> None:
    from deepmath_trainer.grpo_trainer import GrpoTrainer
    from trl import GRPOTrainer

    run = await train("optimizer.steps=1", STALE)
    (loss,) = run.losses
    loss["advantages"] = torch.linspace(-1.5, 2.0, len(loss["advantages"]))
    loss["advantages"][:3] = 0
    order = torch.randperm(len(loss["advantages"]))
    ids = torch.cat([loss["prompt_ids"], loss["completion_ids"]], dim=1)[order]
    mask = torch.cat([loss["prompt_mask"], loss["completion_mask"]], dim=1)[order]
    run.trainer._rows_with_an_advantage = lambda: (loss["advantages"] != 0)[order]
    with torch.no_grad():
        run.trainer._get_per_token_logps_and_entropies(run.trainer.model, ids, mask, loss["completion_ids"].shape[1])
    assert run.trainer._scores is not None, "the loss would score again"
    assert_same(*(gradients_of(run.trainer, loss, scoring) for scoring in (GrpoTrainer, GRPOTrainer)))

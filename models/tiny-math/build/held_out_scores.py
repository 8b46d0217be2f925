"""Scores of the model on held-out traces: loss, and share predicted exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from packed_batches import PackedBatch, pack
from packed_forward import PackedForward
from training_corpus import TrainingExample
from transformers import Qwen3ForCausalLM


@dataclass(frozen=True)
class HeldOutScore:
    """Means over held-out examples of one kind."""

    loss: float
    """Cross-entropy in nats per token with a weight."""
    exact: float
    """Share of examples whose weighted tokens are all predicted greedily, which requires copying numbers."""

    def __str__(self) -> str:
        return f"loss {self.loss:.4f}, {self.exact:.1%} exact"


def held_out_scores(
    model: Qwen3ForCausalLM, examples: Sequence[TrainingExample], micro_batch_tokens: int
) -> dict[str, HeldOutScore]:
    """Return the scores of each kind of example."""
    forward = PackedForward(model)
    kinds = sorted({example.kind for example in examples})
    batches = {kind: pack([each for each in examples if each.kind == kind], micro_batch_tokens) for kind in kinds}
    with torch.no_grad():
        return {kind: _score(forward, of_kind) for kind, of_kind in batches.items()}


def _score(forward: PackedForward, batches: Sequence[PackedBatch]) -> HeldOutScore:
    losses: list[torch.Tensor] = []
    exact: list[bool] = []
    for batch in batches:
        weighted, loss, right = forward.losses(batch)
        losses.append(loss)
        wrong = torch.zeros(len(batch.ids), dtype=torch.bool)
        wrong[weighted] = ~right
        for part, (count, length) in zip(
            wrong.split([count * length for count, length in batch.blocks]), batch.blocks, strict=True
        ):
            exact += (~part.view(count, length).any(1)).tolist()
    return HeldOutScore(torch.cat(losses).mean().item(), sum(exact) / len(exact))

"""Training from scratch: Qwen3's architecture, small, on the assistant's own tokens of the corpus."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import torch
from corpus import IGNORED, Example
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

CONTEXT_LENGTH = 2048


@dataclass(frozen=True)
class Schedule:
    """Optimisation by AdamW with a linear warm-up and a cosine down to a twentieth."""

    tokens_per_batch: int = 5_000
    learning_rate: float = 2.5e-3
    warm_up_steps: int = 60
    weight_decay: float = 0.05
    gradient_norm: float = 1.0


@dataclass(frozen=True)
class Progress:
    """Where training is."""

    step: int
    steps: int
    loss: float
    """Mean cross-entropy in nats since the last report."""
    seconds: float

    def __str__(self) -> str:
        return f"step {self.step}/{self.steps} loss {self.loss:.3f} {self.seconds:.0f} s"


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen3ForCausalLM:
    """Return an untrained model for the tokenizer."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=576,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=3,
        head_dim=32,
        max_position_embeddings=CONTEXT_LENGTH,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        use_cache=True,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return Qwen3ForCausalLM(config)


def batches(examples: list[Example], tokens: int, seed: int) -> list[list[Example]]:
    """Group examples of like length so that a batch, padded, has about `tokens` tokens; batches come shuffled."""
    random = Random(seed)  # noqa: S311 - nothing here is a secret
    # Lengths are blurred a little: a batch of one length only would be a batch of few families.
    ordered = sorted(examples, key=lambda example: len(example.ids) * random.uniform(0.85, 1.15))
    grouped: list[list[Example]] = [[]]
    longest = 0
    for example in ordered:
        longest = max(longest, len(example.ids))
        if grouped[-1] and longest * (len(grouped[-1]) + 1) > tokens:
            grouped.append([])
            longest = len(example.ids)
        grouped[-1].append(example)
    random.shuffle(grouped)
    return grouped


def train(model: Qwen3ForCausalLM, examples: list[Example], schedule: Schedule, seed: int) -> Iterator[Progress]:
    """Train for one pass over the examples; yields its progress now and then, and at the end."""
    plan = batches(examples, schedule.tokens_per_batch, seed)
    optimizer = torch.optim.AdamW(_parameter_groups(model, schedule), lr=schedule.learning_rate, betas=(0.9, 0.98))
    model.train()
    started, losses = time.monotonic(), []
    for step, batch in enumerate(plan, start=1):
        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate * _decay(step, len(plan), schedule.warm_up_steps)
        loss = _loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.gradient_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if step % 25 == 0 or step == len(plan):
            yield Progress(step, len(plan), sum(losses) / len(losses), time.monotonic() - started)
            losses.clear()
    model.eval()


def _loss(model: Qwen3ForCausalLM, batch: list[Example]) -> torch.Tensor:
    """Mean cross-entropy in nats over the tokens to be learned."""
    width = max(len(example.ids) for example in batch)
    # Padding on the right needs no attention mask: no token looks to its right.
    ids = torch.tensor([example.ids + [0] * (width - len(example.ids)) for example in batch])
    labels = torch.tensor([example.labels + [IGNORED] * (width - len(example.labels)) for example in batch])
    logits = model(input_ids=ids, use_cache=False).logits
    predicted, wanted = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    return torch.nn.functional.cross_entropy(predicted, wanted, ignore_index=IGNORED)


def _decay(step: int, steps: int, warm_up: int) -> float:
    if step < warm_up:
        return step / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress))


def _parameter_groups(model: Qwen3ForCausalLM, schedule: Schedule) -> list[dict[str, object]]:
    """Matrices decay, norms do not."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    return [
        {"params": matrices, "weight_decay": schedule.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]

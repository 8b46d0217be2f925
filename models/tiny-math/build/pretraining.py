"""Training from scratch: a small Qwen3 model, with the loss on the assistant's own tokens of the corpus."""

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import torch
from training_corpus import IGNORED, CorpusMixture, TrainingExample
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

CONTEXT_LENGTH = 2048


@dataclass(frozen=True)
class LearningRateSchedule:
    """Two phases of AdamW: tool traces alone until the model copies numbers, then the full mixture.

    The learning rate warms up linearly, stays constant in the first phase and decays with a cosine in the second.
    """

    tool_steps: int = 450
    mixed_steps: int = 250
    traces_per_step: int = 64
    learning_rate: float = 3e-3
    warm_up_steps: int = 50
    weight_decay: float = 0.05
    gradient_norm: float = 1.0

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 1."""
        if step <= self.tool_steps:
            return self.learning_rate * min(1.0, step / self.warm_up_steps)
        progress = (step - self.tool_steps) / self.mixed_steps
        return self.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


@dataclass(frozen=True)
class TrainingProgress:
    """A progress report of training."""

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
        initializer_range=0.06,
        use_cache=True,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return Qwen3ForCausalLM(config)


def train(
    model: Qwen3ForCausalLM,
    examples: list[TrainingExample],
    schedule: LearningRateSchedule,
    mixture: CorpusMixture,
    seed: int,
) -> Iterator[TrainingProgress]:
    """Train both phases; yield progress every 25 steps and at the end."""
    steps = schedule.tool_steps + schedule.mixed_steps
    optimizer = torch.optim.AdamW(_parameter_groups(model, schedule), lr=schedule.learning_rate, betas=(0.9, 0.98))
    model.train()
    started, losses = time.monotonic(), []
    for step, batch in enumerate(_batches(examples, schedule, seed), start=1):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        losses.append(_accumulate(model, batch, mixture))
        torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.gradient_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 25 == 0 or step == steps:
            yield TrainingProgress(step, steps, sum(losses) / len(losses), time.monotonic() - started)
            losses.clear()
    model.eval()


@torch.no_grad()
def exact_share(model: Qwen3ForCausalLM, examples: list[TrainingExample]) -> float:
    """Return the share of examples whose labelled tokens are all predicted greedily, which requires copying numbers."""
    exact = 0
    for example in examples:
        best = model(input_ids=torch.tensor([example.ids])).logits[0, :-1].argmax(-1).tolist()
        exact += all(label in (IGNORED, token) for token, label in zip(best, example.labels[1:], strict=True))
    return exact / len(examples)


def _batches(
    examples: list[TrainingExample], schedule: LearningRateSchedule, seed: int
) -> Iterator[list[TrainingExample]]:
    random = Random(seed)
    with_tool = _epochs([example for example in examples if example.with_tool], random)
    mixed = _epochs(examples, random)
    for stream, steps in ((with_tool, schedule.tool_steps), (mixed, schedule.mixed_steps)):
        for _ in range(steps):
            yield list(itertools.islice(stream, schedule.traces_per_step))


def _epochs(examples: list[TrainingExample], random: Random) -> Iterator[TrainingExample]:
    while True:
        yield from random.sample(examples, len(examples))


def _accumulate(model: Qwen3ForCausalLM, batch: list[TrainingExample], mixture: CorpusMixture) -> float:
    """Accumulate the batch's gradients in micro-batches of similar length; return the weighted mean loss in nats."""
    ordered = sorted(batch, key=lambda example: len(example.ids))
    micro_batches = [_tensors(ordered[at : at + 16], mixture) for at in range(0, len(ordered), 16)]
    weight = sum(weights.sum() for _, _, weights in micro_batches)
    total = 0.0
    for ids, labels, weights in micro_batches:
        logits = model(input_ids=ids, use_cache=False).logits
        losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        loss = (losses * weights.flatten()).sum() / weight
        loss.backward()
        total += loss.item()
    return total


def _tensors(batch: list[TrainingExample], mixture: CorpusMixture) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return input ids, next-token labels and loss weights, each of shape (examples, tokens)."""
    width = max(len(example.ids) for example in batch)
    # Right padding needs no attention mask: attention is causal.
    rows = [_row(example, mixture, width) for example in batch]
    ids, labels, weights = zip(*rows, strict=True)
    return torch.tensor(ids), torch.tensor(labels), torch.tensor(weights)


def _row(example: TrainingExample, mixture: CorpusMixture, width: int) -> tuple[list[int], list[int], list[float]]:
    first = next(at for at, label in enumerate(example.labels) if label != IGNORED)
    weights = [
        0.0 if label == IGNORED else 1.0 if example.with_tool else mixture.by_hand_weight for label in example.labels
    ]
    if not example.with_tool:
        weights[first] = mixture.decision_weight
    padding = width - len(example.ids)
    labels = [*example.labels[1:], *[IGNORED] * (padding + 1)]
    return [*example.ids, *[0] * padding], labels, [*weights[1:], *[0.0] * (padding + 1)]


def _parameter_groups(model: Qwen3ForCausalLM, schedule: LearningRateSchedule) -> list[dict[str, object]]:
    """Return optimizer groups with weight decay on matrices but not on norms."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    return [
        {"params": matrices, "weight_decay": schedule.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]

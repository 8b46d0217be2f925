"""Training from scratch: a small Qwen3 model, with the loss on the assistant's own tokens of the corpus."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from packed_batches import PackedBatch, pack, steps
from packed_forward import PackedForward
from training_corpus import TrainingExample
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

CONTEXT_LENGTH = 2048


@dataclass(frozen=True)
class ModelShape:
    """Sizes of the model."""

    layers: int = 4
    hidden: int = 192
    intermediate: int = 576
    heads: int = 6
    kv_heads: int = 3
    head_dim: int = 32


@dataclass(frozen=True)
class TrainingPlan:
    """Hyperparameters.

    Muon (https://kellerjordan.github.io/posts/muon/) trains the matrices of the layers, AdamW embeddings and norms.
    With `match_rms_adamw` (https://arxiv.org/abs/2502.16982) both have learning rates of one scale. The learning rate
    warms up linearly, stays constant, and decays linearly to zero.
    """

    steps: int = 3000
    computed_steps: int = 0
    """First steps that draw only examples that compute."""
    tokens_per_step: int = 16_384
    micro_batch_tokens: int = 2048
    """Tokens of one forward pass: as many as the caches of a CPU hold."""
    muon: bool = True
    learning_rate: float = 3e-3
    warm_up_steps: int = 50
    decay_share: float = 0.6
    """Share of the steps in which the learning rate decays."""
    weight_decay: float = 0.05
    gradient_norm: float = 1.0
    seed: int = 1

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 1."""
        left = (self.steps + 1 - step) / (self.decay_share * self.steps)
        return self.learning_rate * min(1.0, step / self.warm_up_steps, left)


@dataclass(frozen=True)
class HeldOutScore:
    """Means over held-out examples of one kind."""

    loss: float
    """Cross-entropy in nats per token with a weight."""
    exact: float
    """Share of examples whose weighted tokens are all predicted greedily, which requires copying numbers."""

    def __str__(self) -> str:
        return f"loss {self.loss:.4f}, {self.exact:.1%} exact"


@dataclass(frozen=True)
class TrainingProgress:
    """A progress report of training."""

    step: int
    steps: int
    loss: float
    """Mean weighted cross-entropy in nats since the last report."""
    tokens: int
    """Tokens since the start, without padding."""
    seconds: float
    """Seconds since the start."""

    def __str__(self) -> str:
        pace = self.tokens / self.seconds
        left = (self.steps - self.step) * self.seconds / self.step / 60
        return f"step {self.step}/{self.steps} loss {self.loss:.4f} {pace:,.0f} tokens/s {left:.0f} min left"


def new_model(tokenizer: PreTrainedTokenizerFast, shape: ModelShape, seed: int) -> Qwen3ForCausalLM:
    """Return an untrained model for the tokenizer."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
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
    model: Qwen3ForCausalLM, examples: Sequence[TrainingExample], plan: TrainingPlan, threads: int, every: int = 25
) -> Iterator[TrainingProgress]:
    """Train on `threads` threads; yield progress every `every` steps and at the end."""
    optimizers = _optimizers(model, plan)
    pool = ThreadPoolExecutor(threads)
    started, losses, tokens = time.monotonic(), [], 0
    batches = steps(examples, plan.computed_steps, plan.steps, plan.tokens_per_step, plan.seed)
    for step, batch in enumerate(batches, start=1):
        losses.append(_gradients(model, pack(batch, plan.micro_batch_tokens), pool))
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan.gradient_norm)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = plan.rate(step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        tokens += sum(len(example.ids) for example in batch)
        if step % every == 0 or step == plan.steps:
            yield TrainingProgress(step, plan.steps, sum(losses) / len(losses), tokens, time.monotonic() - started)
            losses.clear()


@torch.no_grad()
def held_out_scores(
    model: Qwen3ForCausalLM, examples: Sequence[TrainingExample], plan: TrainingPlan
) -> dict[str, HeldOutScore]:
    """Return the scores of each kind of example."""
    forward = PackedForward(model)
    kinds = sorted({example.kind for example in examples})
    batches = {kind: pack([each for each in examples if each.kind == kind], plan.micro_batch_tokens) for kind in kinds}
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


def _gradients(model: Qwen3ForCausalLM, batches: Sequence[PackedBatch], pool: Executor) -> float:
    """Set the gradients of the weighted mean loss over all batches; return the loss in nats.

    Each thread computes whole batches, and sums are taken in the order of the batches: the result does not depend on
    the number of threads.
    """
    weight = sum(batch.weights.sum().item() for batch in batches)
    parameters = list(model.parameters())

    def of_batch(batch: PackedBatch) -> tuple[float, tuple[torch.Tensor, ...]]:
        weighted, losses, _ = PackedForward(model).losses(batch)
        loss = (losses * batch.weights[weighted]).sum() / weight
        return loss.item(), torch.autograd.grad(loss, parameters)

    total = 0.0
    for loss, gradients in pool.map(of_batch, batches):
        total += loss
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
    return total


def _optimizers(model: Qwen3ForCausalLM, plan: TrainingPlan) -> list[torch.optim.Optimizer]:
    """Return Muon for the layers' matrices and AdamW for the rest. Norms have no weight decay."""
    hidden = [p for p in model.model.layers.parameters() if p.ndim > 1]
    embeddings = [model.model.embed_tokens.weight]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    adamw = torch.optim.AdamW(
        [
            {"params": embeddings if plan.muon else [*embeddings, *hidden], "weight_decay": plan.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
    )
    if not plan.muon:
        return [adamw]
    return [torch.optim.Muon(hidden, weight_decay=plan.weight_decay, adjust_lr_fn="match_rms_adamw"), adamw]

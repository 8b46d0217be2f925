"""Training from scratch: a small Qwen3 model, with the loss on the assistant's own tokens of the corpus."""

import hashlib
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from packed_batches import PackedBatch, pack, steps
from packed_forward import PackedForward
from training_corpus import TrainingExample
from training_plan import CONTEXT_LENGTH, ModelShape, TrainingPlan
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM


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
        share, pace = self.step / self.steps, self.tokens / self.seconds
        left = (self.steps - self.step) * self.seconds / self.step / 60
        done = f"step {self.step}/{self.steps} ({share:.0%})"
        return f"{done}, loss {self.loss:.4f}, {pace:,.0f} tokens/s, {left:.1f} min left"


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


class Pretraining:
    """Training of one model, which can stop after any step and resume from its state, bit for bit.

    The order of the examples follows from the plan's seed and the step. Nothing else is random.
    """

    def __init__(
        self, model: Qwen3ForCausalLM, examples: Sequence[TrainingExample], plan: TrainingPlan, threads: int
    ) -> None:
        self.model, self.step, self.tokens, self.seconds = model, 0, 0, 0.0
        self._examples, self._plan, self._threads = examples, plan, threads
        self._optimizers = _optimizers(model, plan)

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs. Tensors are those in use: save them before the next step."""
        return {
            "step": self.step,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "weights": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue after the step of the state, which another training with the same arguments had."""
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
        self.model.load_state_dict(state["weights"])
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)

    def run(self, every: int = 25) -> Iterator[TrainingProgress]:
        """Train to the last step; yield progress after every `every` steps and at the end."""
        plan, losses = self._plan, []
        drawn = steps(self._examples, plan.computed_steps, plan.steps, plan.tokens_per_step, plan.seed)
        resumed, started = self.seconds, time.monotonic()
        with ThreadPoolExecutor(self._threads) as pool:
            for examples in itertools.islice(drawn, self.step, None):
                losses.append(self._train_step(examples, pool))
                if self.step % every == 0 or self.step == plan.steps:
                    self.seconds = resumed + time.monotonic() - started
                    yield TrainingProgress(self.step, plan.steps, sum(losses) / len(losses), self.tokens, self.seconds)
                    losses.clear()

    def _train_step(self, examples: Sequence[TrainingExample], pool: Executor) -> float:
        self.step += 1
        loss = _gradients(self.model, pack(examples, self._plan.micro_batch_tokens), pool)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._plan.gradient_norm)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self._plan.rate(self.step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.tokens += sum(len(example.ids) for example in examples)
        return loss


def weights_digest(model: Qwen3ForCausalLM) -> str:
    """Return the SHA-256 of names and bytes of the parameters, as hexadecimal digits."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        digest.update(name.encode())
        digest.update(parameter.detach().contiguous().numpy())
    return digest.hexdigest()


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

"""Sizes of the embedded model and hyperparameters of its training."""

from dataclasses import dataclass

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

    steps: int = 1800
    computed_steps: int = 0
    """First steps that draw only examples that compute."""
    tokens_per_step: int = 16_384
    micro_batch_tokens: int = 2048
    """Tokens of one forward pass: as many as the caches of a CPU hold."""
    muon: bool = True
    learning_rate: float = 6e-3
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

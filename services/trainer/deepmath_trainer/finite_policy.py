"""Check that a policy has finite weights: one that has not samples the same token forever."""

import torch

from deepmath.errors import DeepMathError


class TrainingDiverged(DeepMathError):
    """The policy has NaN or infinite weights."""

    def __init__(self, step: int, weight: str) -> None:
        super().__init__(
            f"training diverged: after step {step}, {weight or 'a weight of another process'} is NaN or infinite. The "
            "policy was neither published nor saved, and the last checkpoint is from before: resume the run with a "
            "smaller optimizer.learning_rate"
        )


def first_non_finite(model: torch.nn.Module) -> str:
    """Return the name of the first trained parameter of `model` with a weight that is not finite; empty if none."""
    trained = [(name, parameter.detach()) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not trained:
        return ""
    finite = torch.stack([torch.isfinite(weights).all() for _, weights in trained]).tolist()  # one transfer for all
    return next((name for (name, _), is_finite in zip(trained, finite, strict=True) if not is_finite), "")

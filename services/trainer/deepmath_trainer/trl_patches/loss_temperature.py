"""The temperature by which TRL's loss divides the logits."""

from typing import Any

from peft import PeftModel


def set_loss_temperature(model: Any, temperature: float) -> None:
    """Make the loss of `model`, which a GRPOTrainer has prepared, divide the logits by `temperature`.

    `GRPOTrainer.__init__` hands its temperature to `trl.trainer.utils.add_fused_lm_head`, which keeps it as a closure
    variable of the replaced `forward`; changing `trainer.temperature` later has no effect. TRL does not support
    changing the temperature during training: https://github.com/huggingface/trl/issues/2941.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    forward = base.forward.__func__
    cell = forward.__closure__[forward.__code__.co_freevars.index("temperature")]
    cell.cell_contents = temperature

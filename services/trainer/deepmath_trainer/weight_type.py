"""The data type of the weights during training."""

from typing import Literal

from deepmath_trainer.run_config import LaunchConfig

_BFLOAT16_INSTRUCTIONS = "avx512_bf16", "amx_bf16", "bf16"
"""torch's names of processor features that multiply bfloat16, the last one on Arm."""


def weight_type(launch: LaunchConfig) -> Literal["float32", "bfloat16"]:
    """Return `launch.dtype`, with `auto` decided for this machine.

    It is bfloat16 except on a CPU without instructions for it, which converts every operand and is slower than in
    float32.
    """
    if launch.dtype != "auto":
        return launch.dtype
    import torch  # slow to import

    if not launch.cpu and torch.accelerator.is_available():
        return "bfloat16"
    features = torch.cpu.get_capabilities()
    return "bfloat16" if any(features.get(name) for name in _BFLOAT16_INSTRUCTIONS) else "float32"

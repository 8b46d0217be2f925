"""LoRA adapters in the form that vLLM loads, by functions of TRL's experimental asynchronous trainer.

They gather sharded weights under FSDP and DeepSpeed, write atomically and reject adapters that vLLM cannot serve.
`GRPOTrainer` itself can only send merged weights: https://github.com/huggingface/trl/issues/5975. The functions are
module-level helpers of `trl/experimental/async_grpo/async_grpo_trainer.py` and not exported by its package.
"""

from pathlib import Path
from typing import Any

from peft import PeftModel
from trl.experimental.async_grpo.async_grpo_trainer import save_lora_adapter, validate_lora_for_vllm_sync

from deepmath_trainer.trl_patches.adapter_names import POLICY


def check_adapter(model: PeftModel) -> None:
    """Check that vLLM can serve the adapter of `model`.

    Raises:
        ValueError: it cannot, and why.
    """
    validate_lora_for_vllm_sync(model)


def export_adapter(model: PeftModel, accelerator: Any, folder: Path) -> None:
    """Write the policy's adapter to `folder`, which appears complete or not at all. All processes must call this."""
    save_lora_adapter(model, accelerator, POLICY, str(folder))

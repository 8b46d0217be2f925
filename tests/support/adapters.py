"""Adapters and checkpoints of the embedded model with random weights, in the file formats of peft and transformers."""

import json
from pathlib import Path

from deepmath.local_stack.stack import EMBEDDED_MODEL

MODEL = EMBEDDED_MODEL.name


def write_adapter(folder: Path, seed: int, rank: int = 8, strength: float = 0.1, **changes: object) -> Path:
    """Write an rsLoRA adapter of all linear layers, with `changes` to its config. With it the model never stops."""
    import torch
    from safetensors.torch import load_file, save_file

    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    tensors = {}
    for name, weight in load_file(EMBEDDED_MODEL / "model.safetensors").items():
        if name.endswith("_proj.weight"):
            layer = f"base_model.model.{name.removesuffix('.weight')}"
            tensors[f"{layer}.lora_A.weight"] = torch.randn(rank, weight.shape[1]) * strength
            tensors[f"{layer}.lora_B.weight"] = torch.randn(weight.shape[0], rank) * strength
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(EMBEDDED_MODEL),
        "r": rank,
        "lora_alpha": 2 * rank,
        "use_rslora": True,
        "bias": "none",
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    }
    (folder / "adapter_config.json").write_text(json.dumps(config | changes))
    return folder


def write_checkpoint(folder: Path, seed: int, noise: float = 0.05) -> Path:
    """Write the embedded model's weights with Gaussian noise of this standard deviation; 0 is the model itself."""
    import torch
    from safetensors.torch import load_file, save_file

    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    weights = load_file(EMBEDDED_MODEL / "model.safetensors")
    noisy = {name: weight + noise * torch.randn_like(weight) for name, weight in weights.items()}
    save_file(noisy if noise else weights, folder / "model.safetensors")
    return folder

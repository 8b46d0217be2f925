"""The factors of LoRA adapters, layer by layer."""

from collections.abc import Iterator

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer


def lora_factors(model: PeftModel, *adapters: str) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Yield, for each layer that has all `adapters`, their factors (up (out x r), down (r x in)), writable in place.

    An adapter adds up @ down, times its scaling, to the layer's weights. peft has no public access to the factors of
    one adapter in a layer; `peft.tuners.lora.LoraLayer` keeps them as `lora_A[name].weight` (down) and
    `lora_B[name].weight` (up). No upstream issue is known.
    """
    for layer in model.modules():
        if isinstance(layer, LoraLayer) and all(name in layer.lora_A for name in adapters):
            yield [(layer.lora_B[name].weight.detach(), layer.lora_A[name].weight.detach()) for name in adapters]

"""The reference of the KL divergence as a LoRA adapter that follows the policy.

TRL moves a reference only where it is a whole model. Beside an adapter it keeps the reference as a second adapter,
`ref`, frozen at its beginning; here that one is moved: W_ref <- mixup W_policy + (1 - mixup) W_ref, as TRL's
SyncRefModelCallback does with whole models (TR-DPO, arXiv 2404.09656). The sum of two products of rank r has rank up to
2 r; it is cut back to the nearest product of rank r (Eckart and Young), which loses nothing the first time.
"""

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer

POLICY, REFERENCE = "default", "ref"


def move_reference(model: PeftModel, mixup: float) -> None:
    """Move the adapter `ref` of `model` by the share `mixup` towards its adapter `default`, which has the same rank."""
    for layer in model.modules():
        if isinstance(layer, LoraLayer) and REFERENCE in layer.lora_A:
            ups = [layer.lora_B[name].weight.detach() for name in (POLICY, REFERENCE)]  # out x r
            downs = [layer.lora_A[name].weight.detach() for name in (POLICY, REFERENCE)]  # r x in
            up = torch.cat([mixup * ups[0], (1 - mixup) * ups[1]], dim=1).float()
            low_up, low_down = nearest_product(up, torch.cat(downs).float(), rank=downs[0].shape[0])
            ups[1].copy_(low_up)
            downs[1].copy_(low_down)


def nearest_product(up: torch.Tensor, down: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (m x rank), (rank x n) whose product is nearest to `up` (m x k) times `down` (k x n), by least squares."""
    left, left_core = torch.linalg.qr(up)
    right, right_core = torch.linalg.qr(down.T)
    inner_left, values, inner_right = torch.linalg.svd(left_core @ right_core.T)
    root = values[:rank].sqrt()
    return left @ inner_left[:, :rank] * root, root[:, None] * (inner_right[:rank] @ right.T)

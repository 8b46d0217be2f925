"""The reference of the KL divergence as a LoRA adapter that follows the policy.

TRL updates a reference only if it is a whole model (https://github.com/huggingface/trl/issues/3108). Beside an adapter
it keeps the reference as a second adapter, a frozen copy of the first; here that copy is updated:
W_ref <- mixup W_policy + (1 - mixup) W_ref, as TRL's SyncRefModelCallback does with whole models (TR-DPO, arXiv
2404.09656). The sum of two products of rank r has rank up to 2 r; it is reduced to the nearest product of rank r
(Eckart and Young 1936), which is exact for the first update.
"""

import torch
from peft import PeftModel

from deepmath_trainer.peft_patches.lora_factors import lora_factors
from deepmath_trainer.trl_patches.adapter_names import POLICY, REFERENCE


def update_reference(model: PeftModel, mixup: float) -> None:
    """Move the reference adapter of `model` towards the policy's, which has the same rank, by the share `mixup`."""
    for (policy_up, policy_down), (reference_up, reference_down) in lora_factors(model, POLICY, REFERENCE):
        up = torch.cat([mixup * policy_up, (1 - mixup) * reference_up], dim=1).float()
        down = torch.cat([policy_down, reference_down]).float()
        new_up, new_down = nearest_product(up, down, rank=policy_down.shape[0])
        reference_up.copy_(new_up)
        reference_down.copy_(new_down)


def nearest_product(up: torch.Tensor, down: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (m x rank), (rank x n) whose product is nearest to `up` (m x k) times `down` (k x n), by least squares."""
    left, left_core = torch.linalg.qr(up)
    right, right_core = torch.linalg.qr(down.T)
    inner_left, values, inner_right = torch.linalg.svd(left_core @ right_core.T)
    root = values[:rank].sqrt()
    return left @ inner_left[:, :rank] * root, root[:, None] * (inner_right[:rank] @ right.T)

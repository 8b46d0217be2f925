"""The reference adapter follows the policy."""

from typing import Any

import pytest

RANK = 3
POLICY, REFERENCE = "default", "ref"


@pytest.fixture(scope="module")
def torch() -> Any:
    import torch

    return torch


def update_reference(model: Any, mixup: float) -> None:
    from deepmath_trainer.reference_adapter import update_reference

    update_reference(model, mixup)


@pytest.fixture
def model(torch) -> Any:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    base = torch.nn.Sequential(torch.nn.Linear(8, 12), torch.nn.Linear(12, 6))
    config = LoraConfig(r=RANK, lora_alpha=6, use_rslora=True, target_modules=["0", "1"])
    model = get_peft_model(base, config)
    model.add_adapter(REFERENCE, config)
    for name, weight in model.named_parameters():
        if f".{POLICY}." in name:
            torch.nn.init.normal_(weight)
    return model


def change(model: Any, adapter: str) -> list[Any]:
    """Return what an adapter adds to each layer's weights."""
    return [layer.get_delta_weight(adapter) for layer in model.modules() if hasattr(layer, "get_delta_weight")]


def test_first_update_is_exact(model, torch) -> None:
    policy = change(model, POLICY)
    update_reference(model, mixup=0.4)
    for moved, whole in zip(change(model, REFERENCE), policy, strict=True):
        torch.testing.assert_close(moved, 0.4 * whole)


def test_policy_is_unchanged(model, torch) -> None:
    before = change(model, POLICY)
    update_reference(model, mixup=0.4)
    for was, now in zip(before, change(model, POLICY), strict=True):
        torch.testing.assert_close(was, now, rtol=0, atol=0)


def test_full_update_equals_the_policy(model, torch) -> None:
    update_reference(model, mixup=0.3)
    update_reference(model, mixup=1.0)
    for moved, policy in zip(change(model, REFERENCE), change(model, POLICY), strict=True):
        torch.testing.assert_close(moved, policy)


def test_product_is_reduced_to_the_nearest_of_its_rank(torch) -> None:
    from deepmath_trainer.reference_adapter import nearest_product

    torch.manual_seed(1)
    up, down = torch.randn(20, 6), torch.randn(6, 30)
    near = torch.matmul(*nearest_product(up, down, rank=4))
    error = torch.linalg.matrix_norm(near - up @ down)
    torch.testing.assert_close(error, torch.linalg.svdvals(up @ down)[4:6].norm())  # Eckart and Young

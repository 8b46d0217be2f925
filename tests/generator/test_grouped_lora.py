"""Each token gets its own adapter's product, whatever the others in its batch have."""

from types import SimpleNamespace

import pytest
import torch
from deepmath_generator.vllm_patches.cpu.grouped_lora import GroupedLora

RANK, INPUTS, WIDTHS, SLOTS = 4, 16, (6, 3), [71, None, 72]  # the ids of the adapters in each slot


@pytest.mark.parametrize("ids", [(71, 71, 71), (72, 0, 71, 72, 0), (0, 0)])
def test_rows_get_the_products_of_their_own_adapters(ids: tuple[int, ...]) -> None:
    wrapper = SimpleNamespace(update_metadata=lambda *_: None, add_lora_linear=None)
    manager = SimpleNamespace(punica_wrapper_mapping={"language_model": wrapper})
    worker = GroupedLora()
    worker.model_runner = SimpleNamespace(lora_manager=SimpleNamespace(_adapter_manager=manager))
    worker.group_lora()
    torch.manual_seed(0)
    a = tuple(torch.randn(len(SLOTS), 1, RANK, INPUTS) for _ in WIDTHS)
    b = tuple(torch.randn(len(SLOTS), 1, width, RANK) for width in WIDTHS)
    x, before = torch.randn(len(ids), INPUTS), torch.randn(len(ids), sum(WIDTHS))
    y = before.clone()
    wrapper.update_metadata(SimpleNamespace(index_mapping=ids), SLOTS)
    wrapper.add_lora_linear(y, x, a, b, 0.5, WIDTHS)
    for row, adapter in enumerate(ids):
        expected = before[row].clone()
        if adapter:
            slot = SLOTS.index(adapter)
            expected += 0.5 * torch.cat([b[i][slot, 0] @ (a[i][slot, 0] @ x[row]) for i in range(len(WIDTHS))])
        torch.testing.assert_close(y[row], expected)

"""Each token gets its own adapter's product, whatever adapters the rest of its batch uses."""

from types import SimpleNamespace

import pytest
from deepmath_generator.vllm_patches.vllm_patch_error import VllmPatchError

pytestmark = pytest.mark.vllm

RANK, INPUTS, WIDTHS, SLOTS = 4, 16, (6, 3), [71, None, 72]  # the adapter id in each slot


def model_runner(wrapper) -> SimpleNamespace:
    manager = SimpleNamespace(punica_wrapper_mapping={"language_model": wrapper})
    return SimpleNamespace(lora_manager=SimpleNamespace(_adapter_manager=manager))


@pytest.mark.parametrize("ids", [(71, 71, 71), (72, 0, 71, 72, 0), (0, 0)])
@pytest.mark.parametrize("times", [1, 2])
def test_rows_get_the_products_of_their_own_adapters(ids: tuple[int, ...], times: int) -> None:
    import torch
    from deepmath_generator.vllm_patches.cpu.grouped_lora import group_lora_products
    from vllm.lora.layers import LoRAMapping
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    wrapper = PunicaWrapperCPU(len(ids), len(ids), "cpu")
    for _ in range(times):  # a second application changes nothing
        group_lora_products(model_runner(wrapper))
    torch.manual_seed(0)
    a = tuple(torch.randn(len(SLOTS), 1, RANK, INPUTS) for _ in WIDTHS)
    b = tuple(torch.randn(len(SLOTS), 1, width, RANK) for width in WIDTHS)
    x, before = torch.randn(len(ids), INPUTS), torch.randn(len(ids), sum(WIDTHS))
    y = before.clone()
    wrapper.update_metadata(LoRAMapping(ids, ids, is_prefill=True), SLOTS, len(SLOTS), 0)
    wrapper.add_lora_linear(y, x, a, b, 0.5, WIDTHS)
    for row, adapter in enumerate(ids):
        expected = before[row].clone()
        if adapter:
            slot = SLOTS.index(adapter)
            expected += 0.5 * torch.cat([b[i][slot, 0] @ (a[i][slot, 0] @ x[row]) for i in range(len(WIDTHS))])
        torch.testing.assert_close(y[row], expected)


@pytest.mark.parametrize("others", [(), (71,), (72, 72), (0, 72) * 40, (71,) * 33, (71,) * 255])
def test_row_is_rounded_alike_whatever_else_is_in_its_batch(others: tuple[int, ...]) -> None:
    import torch
    from deepmath_generator.vllm_patches.cpu.grouped_lora import group_lora_products
    from vllm.lora.layers import LoRAMapping
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    rank, inputs, width, own = 32, 192, 512, (71,) * 5
    torch.manual_seed(0)
    a, b = torch.randn(len(SLOTS), 1, rank, inputs), torch.randn(len(SLOTS), 1, width, rank)
    rows, rest = torch.randn(len(own), inputs), torch.randn(len(others), inputs)

    def products(ids: tuple[int, ...], x: torch.Tensor) -> torch.Tensor:
        wrapper = PunicaWrapperCPU(len(ids), len(ids), "cpu")
        group_lora_products(model_runner(wrapper))
        wrapper.update_metadata(LoRAMapping(ids, ids, is_prefill=True), SLOTS, len(SLOTS), 0)
        y = torch.zeros(len(ids), width)
        wrapper.add_lora_linear(y, x, (a,), (b,), 1.0, (width,))
        return y

    alone = torch.cat([products(own[:1], row[None]) for row in rows])
    assert torch.equal(products(own + others, torch.cat([rows, rest]))[: len(own)], alone)


def test_products_with_another_signature_name_the_patch() -> None:
    from deepmath_generator.vllm_patches.cpu.grouped_lora import group_lora_products

    wrapper = SimpleNamespace(update_metadata=lambda mapping: None, add_lora_linear=None)
    with pytest.raises(VllmPatchError, match=r"`cpu.grouped_lora` .*\('mapping',\), not"):
        group_lora_products(model_runner(wrapper))

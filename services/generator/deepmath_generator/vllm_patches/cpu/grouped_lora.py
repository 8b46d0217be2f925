"""LoRA on a CPU with two matrix products per adapter in the batch.

Reason: vLLM's CPU products copy an adapter's matrices once per token of the batch. A batch uses few adapters, most
often one, so the rows are grouped by adapter, and each group needs two ordinary products. Their rows are padded to a
multiple of 16: MKL picks a kernel by the number of rows, and kernels round differently, so that a token's
log-probability would depend on which other requests are in its batch. vLLM's own products of the base model do not.

Source: vllm/lora/ops/torch_ops/lora_ops.py, `bgmv_shrink` and `bgmv_expand`, the fallback of vllm-project/vllm#11100,
called by `PunicaWrapperCPU` (vllm/lora/punica_wrapper/punica_cpu.py). Wrappers are found through
`model_runner.lora_manager._adapter_manager.punica_wrapper_mapping` (vllm/lora/model_manager.py).
"""

from typing import Any

import torch
from torch.nn.functional import pad

from deepmath_generator.vllm_patches.vllm_patch_error import applying, require_parameters

_ROWS = 16  # a multiple of the rows that MKL's kernels take at a time


def group_lora_products(model_runner: Any) -> None:
    """Replace the LoRA products of a worker. Graphs that are already compiled keep vLLM's.

    Raises:
        VllmPatchError: The worker has no LoRA products, or they have another signature.
    """
    with applying("cpu.grouped_lora"):
        for wrapper in model_runner.lora_manager._adapter_manager.punica_wrapper_mapping.values():
            if not isinstance(getattr(wrapper.update_metadata, "__self__", None), _GroupedProducts):
                replace_products(wrapper)


def replace_products(wrapper: Any) -> None:
    """Replace the products of a `PunicaWrapperCPU`.

    Raises:
        TypeError: They have another signature.
    """
    require_parameters(wrapper.update_metadata, "mapping", "lora_index_to_id", "max_loras", "vocab_size", "kwargs")
    require_parameters(
        wrapper.add_lora_linear,
        *("y", "x", "lora_a_stacked", "lora_b_stacked", "scale", "output_slices", "buffer", "kwargs"),
    )
    grouped = _GroupedProducts(wrapper)
    wrapper.update_metadata, wrapper.add_lora_linear = grouped.update_metadata, grouped.add_lora_linear
    # Adapters of the embedding and the output layer are rejected: these products are always zero.
    wrapper.add_lora_embedding = wrapper.add_lora_logits = _add_nothing


class _GroupedProducts:
    """LoRA products of one model's linear layers."""

    def __init__(self, wrapper: Any) -> None:
        self._update_metadata = wrapper.update_metadata
        self._groups: list[tuple[int, slice | torch.Tensor]] = []  # LoRA slot, rows of the batch

    def update_metadata(self, mapping: Any, lora_index_to_id: list[int | None], *args: Any, **kwargs: Any) -> None:
        """Group the tokens of the next batch by adapter: `mapping.index_mapping` has their adapter ids, 0 for none."""
        self._update_metadata(mapping, lora_index_to_id, *args, **kwargs)
        self._groups = _groups(mapping.index_mapping, lora_index_to_id)

    def add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: tuple[torch.Tensor, ...],
        lora_b_stacked: tuple[torch.Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        **_: Any,
    ) -> None:
        """Add `scale * x @ a.T @ b.T` to `y` in place, with each row's own adapter.

        Shapes: y [tokens, sum(output_slices)], x [tokens, inputs]; for each slice, a [slots, 1, rank, inputs] and
        b [slots, 1, width, rank].
        """
        for slot, rows in self._groups:
            inputs, column = x[rows], 0
            count = len(inputs)
            inputs = pad(inputs, (0, 0, 0, -count % _ROWS))
            for a, b, width in zip(lora_a_stacked, lora_b_stacked, output_slices, strict=True):
                product = ((inputs @ a[slot, 0].T) @ b[slot, 0].T)[:count]
                y[rows, column : column + width] += product.mul_(scale) if scale != 1 else product
                column += width


def _add_nothing(*_: Any, **__: Any) -> None:
    pass


def _groups(adapter_ids: tuple[int, ...], slots: list[int | None]) -> list[tuple[int, slice | torch.Tensor]]:
    used = set(adapter_ids)
    if len(used) == 1 and 0 not in used:
        return [(slots.index(adapter_ids[0]), slice(None))]
    tokens = torch.tensor(adapter_ids)
    return [(slots.index(adapter), (tokens == adapter).nonzero().flatten()) for adapter in used - {0}]

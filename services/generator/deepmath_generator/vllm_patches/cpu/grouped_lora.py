"""LoRA on a CPU in one matrix product for each adapter in the batch.

vLLM's own products on a CPU (`vllm/lora/ops/torch_ops`) copy the adapter's matrices once for each token of the batch. A
batch has few adapters, most often one, so its rows are grouped by adapter, and each group is two ordinary products.
"""

from typing import Any

import torch


class GroupedLora:
    """A worker of vLLM that can be told to multiply so."""

    def group_lora(self) -> None:
        """Put the grouped products in the place of vLLM's. Graphs that are compiled already keep vLLM's."""
        manager = self.model_runner.lora_manager._adapter_manager  # type: ignore[attr-defined]
        for wrapper in manager.punica_wrapper_mapping.values():
            grouped = _Products(wrapper)
            wrapper.update_metadata, wrapper.add_lora_linear = grouped.update, grouped.add
            # Those of the embedding and of the output layer are always zero: no such adapters are taken.
            wrapper.add_lora_embedding = wrapper.add_lora_logits = _add_nothing


class _Products:
    """The products of one model's linear layers."""

    def __init__(self, wrapper: Any) -> None:
        self._update = wrapper.update_metadata
        self._rows: list[tuple[int, slice | torch.Tensor]] = []  # of each adapter's slot, its rows of the batch

    def update(self, mapping: Any, slots: list[int | None], *arguments: Any, **options: Any) -> None:
        """Take the adapter of each token of the next batch: `mapping.index_mapping` holds their ids, 0 for none."""
        self._update(mapping, slots, *arguments, **options)
        self._rows = _rows(mapping.index_mapping, slots)

    def add(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        a: tuple[torch.Tensor, ...],
        b: tuple[torch.Tensor, ...],
        scale: float,
        widths: tuple[int, ...],
        **_: Any,
    ) -> None:
        """Add `scale * x @ a.T @ b.T` to `y`, in place, with each row's own adapter.

        Shapes: y [tokens, sum(widths)], x [tokens, inputs]; of each slice a [slots, 1, rank, inputs] and
        b [slots, 1, width, rank].
        """
        for slot, rows in self._rows:
            inputs, column = x[rows], 0
            for a_slice, b_slice, width in zip(a, b, widths, strict=True):
                product = (inputs @ a_slice[slot, 0].T) @ b_slice[slot, 0].T
                y[rows, column : column + width] += product.mul_(scale) if scale != 1 else product
                column += width


def _add_nothing(*_: Any, **__: Any) -> None:
    pass


def _rows(ids: tuple[int, ...], slots: list[int | None]) -> list[tuple[int, slice | torch.Tensor]]:
    used = set(ids)
    if len(used) == 1 and 0 not in used:
        return [(slots.index(ids[0]), slice(None))]
    tokens = torch.tensor(ids)
    return [(slots.index(used_id), (tokens == used_id).nonzero().flatten()) for used_id in used - {0}]

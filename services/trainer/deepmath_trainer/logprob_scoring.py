"""Log-probabilities of a batch of trajectories, computed on rows of like length together and without their padding.

TRL pads a batch to its longest trajectory, and in a batch a few are often many times as long as most. Values and
gradients are those of the padded batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

_LEAST_FILLED = 0.75  # a row shorter than this share of its bucket's longest begins the next one


@dataclass(frozen=True)
class Scores:
    """Log-probabilities and entropies of the last tokens of rows `ids`, (rows, tokens); `taught` have a gradient."""

    ids: torch.Tensor
    taught: torch.Tensor
    logprobs: torch.Tensor
    entropies: torch.Tensor

    def of(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log-probabilities and entropies of the same rows in any order. Equal rows have equal values."""
        weight = 1 + self.taught.int()
        at = [int(((self.ids == row).all(dim=1) * weight).argmax()) for row in ids]
        return self.logprobs[at], self.entropies[at]


def score_rows(
    score: Callable[..., tuple[Any, Any, Any]],
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    kept: int,
    taught: torch.Tensor,
    **options: Any,
) -> Scores:
    """Score the last `kept` tokens of each row by calls of `score(input_ids, attention_mask, kept, **options)`.

    Args:
        score: TRL's function: log-probabilities, entropies or None, and a balancing loss.
        input_ids: (rows, tokens), padded on both sides.
        attention_mask: (rows, tokens), 0 for padding.
        kept: Tokens at the end that are scored.
        taught: (rows,) Which have a gradient, where gradients are on.
        **options: Given to `score`.
    """
    logprobs = input_ids.new_zeros((len(input_ids), kept), dtype=torch.float32)
    entropies = logprobs.clone()
    lengths = attention_mask.sum(dim=1)
    for part, teaches in ((taught, torch.is_grad_enabled()), (~taught, False)):
        indices = part.nonzero().flatten()
        for bucket in buckets(lengths[indices].tolist()):
            rows = indices[bucket]
            columns = attention_mask[rows].any(dim=0).nonzero()
            start, end = int(columns.min()), int(columns.max()) + 1
            part_of = rows, slice(start, end)
            last = end - (input_ids.shape[1] - kept)
            with torch.set_grad_enabled(teaches):
                logprob, entropy, _ = score(input_ids[part_of], attention_mask[part_of], last, **options)
            place = rows[:, None], torch.arange(last, device=rows.device)
            logprobs = logprobs.index_put(place, logprob.float())
            if entropy is not None:
                entropies = entropies.index_put(place, entropy.float())
    return Scores(unpadded(input_ids, attention_mask), taught, logprobs, entropies)


def unpadded(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Return the ids with -1 for padding."""
    return input_ids.masked_fill(attention_mask == 0, -1)


def buckets(lengths: Sequence[int]) -> list[list[int]]:
    """Return the indices of `lengths` in groups, longest first."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    groups: list[list[int]] = []
    for index in order:
        if not groups or lengths[index] < _LEAST_FILLED * lengths[groups[-1][0]]:
            groups.append([])
        groups[-1].append(index)
    return groups

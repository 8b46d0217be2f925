"""Log-probabilities of a batch of trajectories, computed on rows of similar length together and without their padding.

TRL pads a batch to its longest trajectory, and in a batch a few are often many times as long as most. Values and
gradients equal those of the padded batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

_LEAST_FILLED = 0.75  # a row shorter than this share of its bucket's longest row starts the next bucket


@dataclass(frozen=True)
class TokenLogprobs:
    """Log-probabilities and entropies of the last tokens of the rows `ids`, each (rows, tokens)."""

    ids: torch.Tensor
    """(rows, all tokens), -1 for padding."""
    has_gradient: torch.Tensor
    """(rows,) bool"""
    logprobs: torch.Tensor
    entropies: torch.Tensor

    def of(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log-probabilities and entropies of the same rows in any order. Equal rows have equal values."""
        weight = 1 + self.has_gradient.int()
        at = [int(((self.ids == row).all(dim=1) * weight).argmax()) for row in ids]
        return self.logprobs[at], self.entropies[at]


def score_rows(
    score: Callable[..., tuple[Any, Any, Any]],
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    scored: int,
    gradient_rows: torch.Tensor,
    **options: Any,
) -> TokenLogprobs:
    """Score the last `scored` tokens of each row by calls of `score(input_ids, attention_mask, scored, **options)`.

    Args:
        score: TRL's function: log-probabilities, entropies or None, and a load-balancing loss.
        input_ids: (rows, tokens), padded on both sides.
        attention_mask: (rows, tokens), 0 for padding.
        scored: Number of tokens at the end to score.
        gradient_rows: (rows,) bool, the rows that get a gradient if gradients are enabled.
        **options: Passed to `score`.
    """
    logprobs = input_ids.new_zeros((len(input_ids), scored), dtype=torch.float32)
    entropies = logprobs.clone()
    lengths = attention_mask.sum(dim=1)
    for part, with_gradient in ((gradient_rows, torch.is_grad_enabled()), (~gradient_rows, False)):
        indices = part.nonzero().flatten()
        for bucket in buckets(lengths[indices].tolist()):
            rows = indices[bucket]
            columns = attention_mask[rows].any(dim=0).nonzero()
            start, end = int(columns.min()), int(columns.max()) + 1
            block = rows, slice(start, end)
            last = end - (input_ids.shape[1] - scored)
            with torch.set_grad_enabled(with_gradient):
                logprob, entropy, _ = score(input_ids[block], attention_mask[block], last, **options)
            place = rows[:, None], torch.arange(last, device=rows.device)
            logprobs = logprobs.index_put(place, logprob.float())
            if entropy is not None:
                entropies = entropies.index_put(place, entropy.float())
    return TokenLogprobs(unpadded(input_ids, attention_mask), gradient_rows, logprobs, entropies)


def unpadded(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Return the ids with -1 for padding."""
    return input_ids.masked_fill(attention_mask == 0, -1)


def buckets(lengths: Sequence[int]) -> list[list[int]]:
    """Return the indices of `lengths` in groups of similar length, longest first."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    groups: list[list[int]] = []
    for index in order:
        if not groups or lengths[index] < _LEAST_FILLED * lengths[groups[-1][0]]:
            groups.append([])
        groups[-1].append(index)
    return groups

"""Log-probabilities of a batch of trajectories, computed on rows of similar length together and without their padding.

TRL pads a batch to its longest trajectory, and in a batch a few are often many times as long as most. Values and
gradients equal those of the padded batch.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

_LEAST_FILLED = 0.75  # a row shorter than this share of its bucket's longest row starts the next bucket


def score_rows(
    score: Callable[..., tuple[Any, Any, Any]],
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    scored: int,
    batch_size: int,
    gradient_rows: torch.Tensor | None = None,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log-probabilities and entropies of the last `scored` tokens of each row, each (rows, scored).

    They come from calls of `score(input_ids, attention_mask, scored, **options)`; entropies that it does not compute
    are 0.

    Args:
        score: TRL's function: log-probabilities, entropies or None, and a load-balancing loss.
        input_ids: (rows, tokens), padded on both sides.
        attention_mask: (rows, tokens), 0 for padding.
        scored: Number of tokens at the end to score.
        batch_size: Most rows in a call, which bounds its memory.
        gradient_rows: (rows,) bool, the rows that get a gradient if gradients are enabled; None: all. If it is none of
            them, the shortest row gets one, since TRL calls backward() on any loss.
        **options: Passed to `score`.
    """
    logprobs = input_ids.new_zeros((len(input_ids), scored), dtype=torch.float32)
    entropies = logprobs.clone()
    lengths = attention_mask.sum(dim=1)
    if gradient_rows is None:
        gradient_rows = torch.ones_like(lengths, dtype=torch.bool)
    elif not gradient_rows.any():
        gradient_rows = torch.arange(len(lengths), device=lengths.device) == lengths.argmin()
    for part, with_gradient in ((gradient_rows, torch.is_grad_enabled()), (~gradient_rows, False)):
        indices = part.nonzero().flatten()
        for bucket in buckets(lengths[indices].tolist(), batch_size):
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
    return logprobs, entropies


def buckets(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Return the indices of `lengths` in groups of at most `most` of similar length, longest first."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    groups: list[list[int]] = []
    for index in order:
        if not groups or len(groups[-1]) == most or lengths[index] < _LEAST_FILLED * lengths[groups[-1][0]]:
            groups.append([])
        groups[-1].append(index)
    return groups

"""Log-probabilities of a batch of trajectories, computed on rows of similar length together and without their padding.

TRL pads a batch to its longest trajectory, and in a batch a few are often many times as long as most; and it reads a
prompt once for each of its completions. Values and gradients equal those of the padded batch.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch

from deepmath_trainer.padded_rows import PaddedRows

_LEAST_FILLED = 0.75  # a row shorter than this share of its bucket's longest row starts the next bucket
_LEAST_SAVED = 512  # tokens that need not be read; for fewer, the additional calls take longer

Scores = tuple[torch.Tensor, torch.Tensor | None]
"""Log-probabilities and entropies, each (rows, tokens)."""


class LogprobScoring:
    """Scores rows by calls of two functions with at most `most_rows` rows, which bounds their memory.

    Args:
        score: TRL's function: (ids, mask, number of tokens at the end) to log-probabilities, entropies or None, and a
            load-balancing loss.
        score_group: Scores completions of one prompt, as `shared_prompt.score_completions` does; None: `score` does.
        most_rows: Rows per call.
    """

    def __init__(
        self,
        score: Callable[..., tuple[Any, Any, Any]],
        score_group: Callable[[torch.Tensor, list[torch.Tensor]], Iterable[Scores]] | None,
        most_rows: int,
    ) -> None:
        self._score, self._score_group, self._most_rows = score, score_group, most_rows

    def __call__(
        self, batch: PaddedRows, gradient_rows: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log-probabilities and entropies of the completions, each (rows, tokens), 0 where there are none.

        Args:
            batch: The rows.
            gradient_rows: (rows,) bool, the rows that get a gradient if gradients are enabled; None: all. If no row is
                one of them, the shortest gets a gradient, since TRL calls backward() on any loss.
        """
        logprobs = batch.ids.new_zeros((len(batch.ids), batch.scored), dtype=torch.float32)
        entropies = logprobs.clone()
        if gradient_rows is None:
            gradient_rows = torch.ones_like(batch.lengths, dtype=torch.bool)
        elif not gradient_rows.any():
            gradient_rows = torch.arange(len(batch.ids), device=batch.ids.device) == batch.lengths.argmin()
        for part, with_gradient in ((gradient_rows, torch.is_grad_enabled()), (~gradient_rows, False)):
            with torch.set_grad_enabled(with_gradient):
                scored = list(self._scored(batch, part.nonzero().flatten()))
            for rows, (logprob, entropy) in scored:
                place = rows[:, None], torch.arange(logprob.shape[1], device=rows.device)
                logprobs = logprobs.index_put(place, logprob.float())
                if entropy is not None:
                    entropies = entropies.index_put(place, entropy.float())
        return logprobs, entropies

    def _scored(self, batch: PaddedRows, rows: torch.Tensor) -> Iterator[tuple[torch.Tensor, Scores]]:
        """Yield `rows`, (n,) indices, in parts with their scores."""
        for group in self._sharing(batch, rows):
            assert self._score_group
            parts = [group[part] for part in buckets(batch.completion_lengths[group].tolist(), len(group))]
            completions = [batch.completions(part) for part in parts]
            yield from zip(parts, self._score_group(batch.prompt(group[0]), completions), strict=True)
            rows = rows[~torch.isin(rows, group)]
        for bucket in buckets(batch.lengths[rows].tolist(), self._most_rows):
            logprob, entropy, _ = self._score(*batch.block(rows[bucket]))
            yield rows[bucket], (logprob, entropy)

    def _sharing(self, batch: PaddedRows, rows: torch.Tensor) -> list[torch.Tensor]:
        """Return those of `rows` whose prompt is worth reading once, in groups that have the same."""
        if self._score_group is None or len(rows) < 2:
            return []
        parts = [part for group in batch.groups(rows) for part in group.split(self._most_rows)]
        return [part for part in parts if (len(part) - 1) * len(batch.prompt(part[0])) >= _LEAST_SAVED]


def buckets(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Return the indices of `lengths` in groups of at most `most` of similar length, longest first."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    groups: list[list[int]] = []
    for index in order:
        if not groups or len(groups[-1]) == most or lengths[index] < _LEAST_FILLED * lengths[groups[-1][0]]:
            groups.append([])
        groups[-1].append(index)
    return groups

"""A batch of trajectories as TRL pads it."""

from dataclasses import dataclass

import torch

IGNORED = -100
"""The label of a position without a score, in torch and transformers."""


@dataclass(frozen=True)
class PaddedRows:
    """Prompts, padded in front, and completions, padded at the end."""

    ids: torch.Tensor
    """(rows, tokens)"""
    mask: torch.Tensor
    """(rows, tokens), 0 for padding."""
    scored: int
    """Number of tokens at the end that are of completions."""

    @property
    def lengths(self) -> torch.Tensor:
        """(rows,): tokens without padding."""
        return self.mask.sum(dim=1)

    @property
    def completion_lengths(self) -> torch.Tensor:
        """(rows,): tokens of completions without padding."""
        return self.mask[:, -self.scored :].sum(dim=1)

    def block(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Return ids, mask and scored tokens of `rows`, (n,) indices, without the columns in which all are padding."""
        columns = self.mask[rows].any(dim=0).nonzero()
        start, end = int(columns.min()), int(columns.max()) + 1
        columns_kept = rows, slice(start, end)
        return self.ids[columns_kept], self.mask[columns_kept], end - (self.ids.shape[1] - self.scored)

    def prompt(self, row: int | torch.Tensor) -> torch.Tensor:
        """Return the prompt of `row`, (tokens,), without padding."""
        return self.ids[row, : -self.scored][self.mask[row, : -self.scored].bool()]

    def completions(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the completions of `rows`, (n, tokens of the longest), padded with `IGNORED`."""
        padded = self.ids[:, -self.scored :].masked_fill(self.mask[:, -self.scored :] == 0, IGNORED)
        return padded[rows, : int(self.completion_lengths[rows].max())]

    def groups(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Return `rows`, (n,) indices, in groups that have the same prompt."""
        prompts = self.ids.masked_fill(self.mask == 0, IGNORED)[rows, : -self.scored]
        _, group = torch.unique(prompts, dim=0, return_inverse=True)
        return [rows[group == index] for index in range(int(group.max()) + 1)]

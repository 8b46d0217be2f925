"""Scores of a batch, computed once instead of twice.

TRL scores a batch for the importance-sampling correction, and again in the loss. If a single optimizer step is taken on
the whole batch at once, the weights are the same, and the loss gets the first scores. Rows whose advantage is zero add
nothing to the loss and are scored without a gradient.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from deepmath_trainer.logprob_scoring import TokenLogprobs, score_rows, unpadded


class ScoreCache:
    """The scores of the current batch.

    Args:
        reusable: Whether the scores before the loss equal those in it, and may hold until then what a gradient needs.
        zero_advantage_is_zero_loss: Whether a row without an advantage needs no gradient.
    """

    def __init__(self, reusable: bool, zero_advantage_is_zero_loss: bool) -> None:
        self._reusable, self._skip_rows = reusable, zero_advantage_is_zero_loss
        self._batch_rows: torch.Tensor | None = None  # of the batch, those that can have an advantage
        self._loss_rows: torch.Tensor | None = None  # of the loss being computed, those that have one; None: all
        self._scores: TokenLogprobs | None = None

    @property
    def is_filled(self) -> bool:
        """Whether the next loss gets scores that were computed before it."""
        return self._scores is not None

    def start_batch(self, rows: torch.Tensor) -> None:
        """Start a batch of which `rows`, (rows,) bool, can have an advantage."""
        self._batch_rows, self._scores = rows if rows.any() else None, None

    @contextmanager
    def loss(self, advantages: torch.Tensor) -> Iterator[None]:
        """Open the loss of rows with these advantages, (rows,); when it closes the scores are dropped."""
        rows = advantages != 0
        self._loss_rows = rows if self._skip_rows and rows.any() else None
        yield
        self._loss_rows = self._scores = None

    def score(
        self,
        score: Callable[..., tuple[Any, Any, Any]],
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        scored: int,
        compute_entropy: bool = False,
        **options: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        """Return log-probabilities and entropies; arguments as those of `score_rows`."""
        in_loss = torch.is_grad_enabled()
        if in_loss and self._scores:
            return *self._scores.of(unpadded(input_ids, attention_mask)), None
        keep = not in_loss and self._reusable
        rows = self._batch_rows if keep else self._loss_rows
        if rows is None:
            rows = torch.ones_like(input_ids[:, 0], dtype=torch.bool)
        with torch.set_grad_enabled(in_loss or keep):
            scores = score_rows(
                score,
                input_ids,
                attention_mask,
                scored,
                rows.to(input_ids.device),
                compute_entropy=keep or compute_entropy,
                **options,
            )
        if keep:
            self._scores = scores
            return scores.logprobs.detach(), None, None
        return scores.logprobs, scores.entropies if compute_entropy else None, None

"""TRL's trainer with public hooks: the only place that overrides private methods of TRL or transformers."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from trl import GRPOTrainer

from deepmath_trainer.trl_patches.importance_correction import CorrectionInLoss

TokenScores = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]
"""Log-probabilities and entropies, each (rows, tokens), and the load-balancing loss."""


class HookedGrpoTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPOTrainer with hooks for subclasses, which by default do not change its behaviour."""

    correction: CorrectionInLoss | None = None
    """Computes the importance ratios in the loss, if set."""
    _loss_inputs: dict[str, Any] | None = None  # while the loss is computed

    def loss_scope(self, advantages: torch.Tensor) -> AbstractContextManager[None]:  # noqa: ARG002
        """Return a context in which the loss of rows with these advantages, (rows,), is computed."""
        return nullcontext()

    def score_tokens(self, score: Callable[..., TokenScores], *batch: Any, **options: Any) -> TokenScores:
        """Score the completions of a batch with `score`, TRL's function, bound to the model.

        `batch` is input_ids and attention_mask, each (rows, tokens), and the number of tokens at the end to score.
        """
        return score(*batch, **options)

    def checkpoint_root(self) -> Path:
        """Return the folder in which `checkpoint-STEP` is written."""
        return Path(super()._get_output_dir(None))

    def write_checkpoint(self, write: Callable[[], None]) -> None:
        """Write a checkpoint by calling `write`."""
        write()

    def save_checkpoint_now(self) -> None:
        """Write a checkpoint of the current step, between two steps: `Trainer` writes them at its own times only."""
        self._save_checkpoint(self.model, None)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """Override `GRPOTrainer._compute_loss`, the only place between the advantages and the loss.

        Rows without an advantage need no gradient; no upstream issue is known. `CorrectionInLoss` gives the reason of
        the correction. It relies on `_compute_loss` reading the importance ratios after it has scored.
        """
        inputs = dict(inputs)
        if self.correction:
            inputs.pop("old_per_token_logps", None)
        with self.loss_scope(inputs["advantages"]):
            self._loss_inputs = inputs
            loss: torch.Tensor = super()._compute_loss(model, inputs)
            self._loss_inputs = None
        return loss

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        tokens: int,
        *extra: Any,
        **options: Any,
    ) -> TokenScores:
        """Override `GRPOTrainer._get_per_token_logps_and_entropies`, which scores padded batches, some of them twice.

        Upstream: https://github.com/huggingface/trl/pull/7087 (scoring without padding, open).
        """
        if self.correction and self._loss_inputs is None:
            return self.correction.skip_scores(input_ids, tokens), None, None
        score = partial(super()._get_per_token_logps_and_entropies, model)
        scores = self.score_tokens(score, input_ids, attention_mask, tokens, *extra, **options)
        if self.correction and self._loss_inputs is not None:
            self.correction.correct(self._loss_inputs, scores[0])
        return scores

    def _get_output_dir(self, *_: Any, **__: Any) -> str:
        """Override `Trainer._get_output_dir`, to write checkpoints in a staging folder.

        transformers writes a checkpoint file by file in its final place, so that a full disk or a kill leaves a part
        of one: https://github.com/huggingface/transformers/pull/35580.
        """
        return str(self.checkpoint_root())

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Override `Trainer._save_checkpoint`; the reason is that of `_get_output_dir`."""
        self.write_checkpoint(partial(super()._save_checkpoint, model, trial))

"""Importance-sampling correction for completions that TRL's own vLLM client did not sample."""

from typing import Any

import torch

_METRICS = "sampling/sampling_logp_difference/{}", "sampling/importance_sampling_ratio/{}"
_REDUCTIONS = {"mean": torch.mean, "min": torch.min, "max": torch.max}


class _ExternalSampler:
    """Stands in for `trl.generation.vllm_generation.VLLMGeneration`: the sampling pipeline publishes the policies."""

    def sync_weights(self) -> None:
        """Do nothing."""


def enable_importance_correction(trainer: Any) -> None:
    """Make `trainer`, a constructed GRPOTrainer, correct for the difference between sampler and trainer.

    `GRPOTrainer._generate_and_score_completions` and `_compute_loss` use the log-probabilities returned by
    `rollout_func` for the correction only if `self.use_vllm`, and `GRPOTrainer.__init__` builds a vLLM client whenever
    it is set in the arguments. So it is set after construction, with what `_generate` then reads: `vllm_mode`,
    `vllm_generation.sync_weights` and `_last_loaded_step`. The correction came with
    https://github.com/huggingface/trl/pull/3867; no upstream issue about other samplers is known.
    """
    trainer.use_vllm, trainer.vllm_mode = True, "server"
    trainer.vllm_generation, trainer._last_loaded_step = _ExternalSampler(), -1


class CorrectionInLoss:
    """Importance ratios from the scores of the loss, in place of a pass over the batch before it.

    TRL scores a batch twice: without a gradient for the ratio of policy to sampler, and in the loss. With one optimizer
    step per batch the weights are the same, and so are the scores. The scores before the loss are left out; the ratios,
    and TRL's metrics of them, are computed when the loss has scored. No upstream issue is known.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._seen: list[tuple[torch.Tensor, torch.Tensor]] = []  # of the batch: differences and ratios of its tokens

    def skip_scores(self, input_ids: torch.Tensor, tokens: int) -> torch.Tensor:
        """Start a batch; return NaN, (rows, tokens), for its scores: TRL then sets their ratios to 1."""
        self._seen = []
        return torch.full((len(input_ids), tokens), torch.nan, device=input_ids.device)

    def correct(self, inputs: dict[str, Any], logprobs: torch.Tensor) -> None:
        """Put into `inputs`, those of a loss, the ratios that follow from the loss's scores, (rows, tokens)."""
        mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
        difference = torch.nan_to_num((logprobs.detach() - inputs["sampling_per_token_logps"]) * mask)
        args = self._trainer.args
        limits = {"min": args.vllm_importance_sampling_clip_min, "max": args.vllm_importance_sampling_clip_max}
        ratio = inputs["importance_sampling_ratio"] = torch.clamp(difference.exp(), **limits)
        in_loss = mask.bool()
        self._seen.append((difference[in_loss].abs(), ratio[in_loss]))
        self._record()

    def _record(self) -> None:
        """Replace the metrics of the batch by those of what has been seen of it."""
        gather, metrics = self._trainer.accelerator.gather, self._trainer._metrics["train"]
        for key, parts in zip(_METRICS, zip(*self._seen, strict=True), strict=True):
            values = torch.cat(parts)
            for name, reduce in _REDUCTIONS.items():
                if key.format(name) in metrics:
                    value = gather(reduce(values) if len(values) else values.new_tensor(0.0))
                    metrics[key.format(name)] = [reduce(value).item()]

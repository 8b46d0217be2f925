"""Importance-sampling correction for completions that TRL's own vLLM client did not sample."""

from typing import Any


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

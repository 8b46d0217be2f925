"""The names under which TRL logs the metrics of an optimizer step."""

from collections.abc import Mapping

_NAMES = {
    "loss": "loss",
    "reward": "reward",
    "reward_std": "reward_std",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "kl": "kl",
    "entropy": "entropy",
    "clip_ratio/region_mean": "clip_ratio",
    "sampling/importance_sampling_ratio/mean": "importance_ratio_mean",
    "sampling/importance_sampling_ratio/min": "importance_ratio_min",
    "sampling/importance_sampling_ratio/max": "importance_ratio_max",
    "sampling/sampling_logp_difference/mean": "logp_difference_mean",
    "sampling/sampling_logp_difference/max": "logp_difference_max",
}
"""TRL's name -> name in metrics.jsonl. TRL documents some of them; all are literals in `trl/trainer/grpo_trainer.py`
(`self._metrics[mode][...]`) and in transformers' `Trainer._maybe_log_save_evaluate`."""


def is_step_log(logs: Mapping[str, float]) -> bool:
    """Return whether `logs` are those of an optimizer step, not the summary at the end of training."""
    return "loss" in logs


def optimizer_metrics(logs: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of an optimizer step from what TRL logged; metrics that TRL left out are absent."""
    return {name: float(logs[key]) for key, name in _NAMES.items() if logs.get(key) is not None}

"""What is told of an optimizer step, under names of ours."""

from collections.abc import Iterable, Mapping

from deepmath_trainer.rollout_batches import Batch

# TRL's name -> ours
_OF_TRL = {
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


def of_trl(logs: Mapping[str, float]) -> dict[str, float]:
    """Return what TRL logged of a step."""
    return {ours: float(logs[theirs]) for theirs, ours in _OF_TRL.items() if logs.get(theirs) is not None}


def of_batch(batch: Batch) -> dict[str, float]:
    """Return what a batch says. Shares and means are over the trajectories that did not fail for reasons of ours."""
    sound = [sample for sample in batch.samples if not sample.failed]
    outcomes = [sample.outcome for sample in sound]
    return {
        "temperature": batch.temperature,
        "accuracy": _mean(bool(one.correct) for one in outcomes),
        "code_rate": _mean(one.called for one in outcomes),
        "code_executed_rate": _mean(one.executed for one in outcomes),
        "code_used_rate": _mean(one.used for one in outcomes),
        "model_tokens": _mean(sample.trajectory.model_tokens for sample in sound),
        "tool_tokens": _mean(sample.trajectory.tool_tokens for sample in sound),
        "truncated_rate": _mean(one.truncated for one in outcomes),
        "reward_accuracy": _mean(sample.reward.accuracy for sample in sound),
        "reward_code": _mean(sample.reward.code for sample in sound),
        "reward_length": _mean(sample.reward.length for sample in sound),
        "flat_groups": sum(group.flat for group in batch.groups),
        "resampled_groups": batch.resampled,
        "infrastructure_failures": len(batch.samples) - len(sound),
    }


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values) if values else 0.0

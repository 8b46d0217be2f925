"""The metrics of an optimizer step: means over its batch, and where its time went."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from deepmath.grading.verdict import Reason
from deepmath_trainer.rollout_batch import RolloutBatch


def batch_metrics(batch: RolloutBatch) -> dict[str, float]:
    """Return the metrics of a batch; rates and means are over the samples without an infrastructure failure.

    `accuracy` is over those with a verdict, and `score` over those of problems with their own scorers, if any.
    `verdict_*` counts the verdicts by the name of their reason.
    """
    valid = [sample for sample in batch.samples if not sample.failed]
    outcomes = [sample.outcome for sample in valid]
    scores = [one.score for one in outcomes if one.score is not None]
    return {
        "temperature": batch.temperature,
        "accuracy": _mean(one.correct for one in outcomes if one.correct is not None),
        **({"score": _mean(scores)} if scores else {}),
        "code_rate": _mean(one.called for one in outcomes),
        "code_executed_rate": _mean(one.executed for one in outcomes),
        "code_used_rate": _mean(one.used for one in outcomes),
        "model_tokens": _mean(sample.trajectory.model_tokens for sample in valid),
        "tool_tokens": _mean(sample.trajectory.tool_tokens for sample in valid),
        "truncated_rate": _mean(one.truncated for one in outcomes),
        "reward_accuracy": _mean(sample.reward.accuracy for sample in valid),
        "reward_code": _mean(sample.reward.code for sample in valid),
        "reward_length": _mean(sample.reward.length for sample in valid),
        "flat_groups": sum(group.flat for group in batch.groups),
        "resampled_groups": len(batch.replaced),
        "infrastructure_failures": len(batch.samples) - len(valid),
        **_verdict_counts(sample.reason for sample in valid),
    }


def verdict_metric(reason: Reason) -> str:
    """Return the name of the metric that counts verdicts with this reason."""
    return f"verdict_{reason.name.lower()}"


def _verdict_counts(reasons: Iterable[Reason | None]) -> dict[str, float]:
    counts = Counter(reasons)
    return {verdict_metric(reason): counts[reason] for reason in Reason if counts[reason]}


class StepTimer:
    """Measures the time between optimizer steps, and how much of it trainer and generators were idle.

    `busy_seconds` returns for how long a generator has worked for the run so far.
    """

    def __init__(self, busy_seconds: Callable[[], float]) -> None:
        self._busy_seconds = busy_seconds
        self.start_step()

    def start_step(self) -> None:
        """Start to measure a step."""
        self._started, self._waited, self._busy_before = time.monotonic(), 0.0, self._busy_seconds()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time in the block as waiting for the batch."""
        started = time.monotonic()
        yield
        self._waited = time.monotonic() - started

    def end_step(self, batch: RolloutBatch, trajectories: int) -> dict[str, float]:
        """Return the times of the step taken on `batch`, of `trajectories` over all processes; start the next step."""
        step_seconds = time.monotonic() - self._started
        busy = self._busy_seconds() - self._busy_before
        waited = self._waited
        self.start_step()
        return {
            "generate_seconds": batch.ended - batch.started,
            "train_seconds": step_seconds - waited,
            "step_seconds": step_seconds,
            "samples_per_s": trajectories / step_seconds,
            "trainer_idle": waited / step_seconds,
            "generator_idle": max(0.0, 1 - busy / step_seconds),
        }


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values) if values else 0.0

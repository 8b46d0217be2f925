"""Prometheus metrics of the trainer: runs by status, and the progress of active runs.

No label is a run's name, which a client chooses: with several active runs, figures are means, and times those of the
slowest.
"""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.core import Metric

from deepmath.grading.verdict import Reason
from deepmath.observability.prometheus_metrics import UP_TO_AN_HOUR
from deepmath.observability.rpc_metrics import RpcMetrics
from deepmath.trainer.v1 import trainer_pb2 as pb
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.run_log import RunLogReader
from deepmath_trainer.run_registry import RunRegistry
from deepmath_trainer.step_metrics import verdict_metric

_LAST_STEP = {
    "reward": ("reward", "Mean reward of the last step."),
    "accuracy": ("accuracy_ratio", "Accuracy in the last step."),
    "flat_groups": ("flat_groups", "Groups of the last step without an advantage: all their rewards are equal."),
    "pool_in_reach": ("in_reach_ratio", "Share of the problems that the policy is estimated to solve sometimes."),
    "staleness": ("staleness_steps", "Optimizer steps by which the sampling policies of the last step were behind."),
    "generator_idle": ("generator_idle_ratio", "Share of the last step during which no generator worked for the run."),
    "trainer_idle": ("idle_ratio", "Share of the last step during which the trainer waited for trajectories."),
}
"""Name in metrics.jsonl -> name and help."""


@dataclass
class _MonitoredRun:
    """A run's log as read so far."""

    log: RunLogReader
    last: dict[str, Any] = field(default_factory=dict)
    verify_timeouts: float = 0.0
    """Total so far, as counted by the run's worker."""

    def update(self, line: dict[str, Any]) -> float:
        """Make `line` the last one, and return how many verifications have timed out since the previous one."""
        before, now = self.verify_timeouts, line["metrics"].get("verify_timeouts") or 0.0
        self.last, self.verify_timeouts = line, now
        return float(now - before if now >= before else now)  # smaller: the worker was restarted


class RunMetrics(RpcMetrics):
    """Reads the logs of `runs` at each scrape. Created in their event loop; counts steps from then on."""

    def __init__(self, runs: RunRegistry) -> None:
        super().__init__("trainer")
        self._runs = runs
        self._monitored: dict[str, _MonitoredRun] = {}
        self.on_scrape(self._read)  # before the counters are created: it runs before them, and increments them
        self._steps = self.counter("steps", "Optimizer steps of all runs.")
        self._seconds = self.histogram("step_seconds", "Duration of an optimizer step.", UP_TO_AN_HOUR)
        self._timeouts = self.counter("verify_timeouts", "Answers whose verification timed out.")
        verdicts = self.counter("verdicts", "Verdicts on answers by reason.", ["reason"])
        self._verdicts = {reason: verdicts.labels(reason.name.lower()) for reason in Reason}
        self._failures = self.counter(
            "infrastructure_failures", "Trajectories in batches that ended by an infrastructure failure."
        )
        for folder in runs.all():
            monitored = self._monitor(folder)
            for line in monitored.log.read():
                monitored.update(line)

    def _read(self) -> Iterable[Metric]:
        folders = self._runs.all()
        states = [(folder, self._runs.state(folder)) for folder in folders]
        counted = Counter(state.status for _, state in states)
        statuses = {name.removeprefix("STATUS_").lower() for name, number in pb.Status.items() if number}
        yield self.gauge("runs", "Runs by status.", {name: counted[name] for name in sorted(statuses)}, "status")
        failures = [state.updated for _, state in states if state.status == "failed"]
        help = "Time of the latest failure of a run, as Unix time; 0 if none of the runs has failed."
        yield self.gauge("last_failure_timestamp_seconds", help, max(failures, default=0.0))
        active = []
        for folder, state in states:
            monitored = self._monitor(folder)
            for line in monitored.log.read():
                self._count(monitored, line)
            if not state.ended:
                active.append((state, monitored.last))
        if not active:
            return
        yield self.gauge("step", "Last optimizer step.", _mean([state.step for state, _ in active]))
        since = [max(last.get("time") or 0.0, state.updated) for state, last in active]  # a resumed run has an old step
        elapsed = max(time.time() - min(since), 0.0)
        yield self.gauge(
            "since_step_seconds", "Time since the last optimizer step, start or change of status.", elapsed
        )
        for key, (name, help) in _LAST_STEP.items():
            values = [last["metrics"].get(key) for _, last in active if last]
            if finite := [value for value in values if value is not None]:
                yield self.gauge(name, help, _mean(finite))

    def _monitor(self, folder: RunFolder) -> _MonitoredRun:
        return self._monitored.setdefault(folder.name, _MonitoredRun(RunLogReader(folder.metrics)))

    def _count(self, monitored: _MonitoredRun, line: dict[str, Any]) -> None:
        metrics = line["metrics"]
        self._steps.inc()
        if (seconds := metrics.get("step_seconds")) is not None:
            self._seconds.observe(seconds)
        self._failures.inc(metrics.get("infrastructure_failures") or 0)
        self._timeouts.inc(monitored.update(line))
        for reason, counter in self._verdicts.items():
            counter.inc(metrics.get(verdict_metric(reason)) or 0)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)

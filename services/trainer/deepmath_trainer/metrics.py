"""What Prometheus is told of the runs: how many there are of each kind, and how those at work go.

No run is told by its name, which a client chose: of several at work, figures are means, and times those of the slowest.
"""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.core import Metric

from deepmath.observability.prometheus_metrics import UP_TO_AN_HOUR, PrometheusMetrics
from deepmath.trainer.v1 import trainer_pb2 as pb
from deepmath_trainer.run_folder import RunFolder, Tail
from deepmath_trainer.run_registry import RunRegistry

_LATEST = {
    "reward": ("reward", "Mean reward of the last step."),
    "accuracy": ("accuracy_ratio", "Share of right answers in the last step."),
    "staleness": ("staleness_steps", "Optimizer steps that the policies of the last step's batch were behind."),
    "generator_idle": ("generator_idle_ratio", "Share of the last step in which no generator was at work for the run."),
    "trainer_idle": ("idle_ratio", "Share of the last step in which the trainer waited for trajectories."),
}
"""Name in metrics.jsonl -> name and help."""


@dataclass
class _Watched:
    """What is known of a run's log."""

    tail: Tail
    last: dict[str, Any] = field(default_factory=dict)
    verify_timeouts: float = 0.0
    """So far, by the count of the run's worker."""

    def keep(self, line: dict[str, Any]) -> float:
        """Make `line` the last, and return how many verdicts have timed out since the one before."""
        before, now = self.verify_timeouts, line["metrics"].get("verify_timeouts") or 0.0
        self.last, self.verify_timeouts = line, now
        return float(now - before if now >= before else now)  # less: a worker that was started again


class RunMetrics(PrometheusMetrics):
    """Reads on in the folders of `runs` whenever somebody asks. Made in their event loop; counts steps from then on."""

    def __init__(self, runs: RunRegistry) -> None:
        super().__init__("trainer")
        self._runs = runs
        self._watched: dict[str, _Watched] = {}
        self.on_scrape(self._now)  # before the counters are made: it is asked before them, and counts
        self._steps = self.counter("steps", "Optimizer steps of all runs.")
        self._seconds = self.histogram("step_seconds", "Time of an optimizer step.", UP_TO_AN_HOUR)
        self._timeouts = self.counter("verify_timeouts", "Answers that got no verdict in time.")
        self._failures = self.counter(
            "infrastructure_failures", "Trajectories in batches that failed for reasons of ours."
        )
        for folder in runs.all():
            watched = self._watch(folder)
            for line in watched.tail.read():
                watched.keep(line)

    def _now(self) -> Iterable[Metric]:
        folders = self._runs.all()
        states = [(folder, self._runs.state(folder)) for folder in folders]
        counted = Counter(state.status for _, state in states)
        statuses = {name.removeprefix("STATUS_").lower() for name, number in pb.Status.items() if number}
        yield self.gauge("runs", "Runs by status.", {name: counted[name] for name in sorted(statuses)}, "status")
        at_work = []
        for folder, state in states:
            watched = self._watch(folder)
            for line in watched.tail.read():
                self._count(watched, line)
            if not state.ended:
                at_work.append((state, watched.last))
        if not at_work:
            return
        yield self.gauge("step", "Last optimizer step.", _mean([state.step for state, _ in at_work]))
        began = [last.get("time") or state.updated for state, last in at_work]
        since = max(time.time() - min(began), 0.0)
        yield self.gauge("since_step_seconds", "Time since the last optimizer step, or since the start.", since)
        for key, (name, help) in _LATEST.items():
            values = [last["metrics"].get(key) for _, last in at_work if last]
            if finite := [value for value in values if value is not None]:
                yield self.gauge(name, help, _mean(finite))

    def _watch(self, folder: RunFolder) -> _Watched:
        return self._watched.setdefault(folder.name, _Watched(Tail(folder.metrics)))

    def _count(self, watched: _Watched, line: dict[str, Any]) -> None:
        metrics = line["metrics"]
        self._steps.inc()
        if (seconds := metrics.get("step_seconds")) is not None:
            self._seconds.observe(seconds)
        self._failures.inc(metrics.get("infrastructure_failures") or 0)
        self._timeouts.inc(watched.keep(line))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)

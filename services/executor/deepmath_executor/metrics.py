"""What Prometheus is told: how snippets ended, how long things took, and how busy the service is."""

from collections.abc import Iterable

from prometheus_client.core import Metric

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.observability.prometheus_metrics import UP_TO_A_SECOND, UP_TO_MINUTES, PrometheusMetrics
from deepmath.sandbox.supervisor.sandbox_pool import SandboxPool
from deepmath_executor.admission import SessionAdmission
from deepmath_executor.audit import AuditLog

_ABANDONED = "abandoned"  # the client went before there was an outcome


class ExecutorMetrics(PrometheusMetrics):
    """Counts what happens to snippets."""

    def __init__(self) -> None:
        super().__init__("executor")
        outcomes = self.counter("snippets", "Snippets by how they ended.", ["outcome"])
        self._ended = {number: outcomes.labels(_label(name)) for name, number in pb.Outcome.items()}
        self._refused = self.counter("preflight_refusals", "Snippets that were refused before they ran.")
        self._queue = self.histogram("queue_seconds", "Time in the service before a snippet ran.", UP_TO_MINUTES)
        self._wall = self.histogram("wall_seconds", "Time that a snippet ran.", UP_TO_MINUTES)
        self._open = self.histogram("open_seconds", "Time to take a sandbox for a session.", UP_TO_A_SECOND)
        self._kill = self.histogram(
            "kill_latency_seconds", "From a time limit to the death of the sandbox killed for it.", UP_TO_A_SECOND
        )

    def opened(self, seconds: float) -> None:
        """A session has got a sandbox."""
        self._open.observe(seconds)

    def killed(self, seconds: float) -> None:
        """A sandbox that was killed at a time limit is dead, so long after the limit."""
        self._kill.observe(seconds)

    def refused(self, result: pb.SnippetResult) -> None:
        """A snippet was refused before it ran."""
        self._refused.inc()
        self._ended[result.outcome].inc()

    def ran(self, result: pb.SnippetResult) -> None:
        """A snippet has run, or its client went while it did."""
        self._ended[result.outcome].inc()
        if result.outcome != pb.OUTCOME_UNSPECIFIED:
            self._queue.observe(result.usage.queue_ms / 1e3)
            self._wall.observe(result.usage.wall_ms / 1e3)

    def watch_state(self, gate: SessionAdmission, pool: SandboxPool, audit: AuditLog) -> None:
        """Tell of the state of these too, as it is when somebody asks. Call it in the loop that they live in."""

        def now() -> Iterable[Metric]:
            refusals = "Streams and sessions that were not let in, by reason."
            yield self.count("refusals", refusals, gate.refusals, "reason")
            yield self.gauge("waiting_sandboxes", "Sandboxes locked down and waiting for a session.", pool.waiting)
            yield self.gauge("live_sessions", "Sessions open.", gate.sessions)
            yield self.gauge("running_snippets", "Snippets running.", gate.running)
            yield self.gauge("queued_snippets", "Snippets waiting for a slot.", gate.queued)
            yield self.count("zygote_restarts", "Replacements of what sandboxes are forked from.", pool.replacements)
            yield self.count("audit_lines_lost", "Lines of the audit log that could not be written.", audit.lost)

        self.watch(now)


def _label(outcome: str) -> str:
    return outcome.removeprefix("OUTCOME_").lower().replace("unspecified", _ABANDONED)

"""Prometheus metrics of the executor: outcomes, durations and load."""

from collections.abc import Iterable

from prometheus_client.core import Metric

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.observability.prometheus_metrics import UP_TO_A_SECOND, UP_TO_MINUTES
from deepmath.observability.rpc_metrics import RpcMetrics
from deepmath.sandbox.supervisor.sandbox_pool import SandboxPool
from deepmath_executor.admission import SessionAdmission
from deepmath_executor.audit import AuditLog

_ABANDONED = "abandoned"  # the client disconnected before there was an outcome


class ExecutorMetrics(RpcMetrics):
    """Counts outcomes and observes durations of snippets, sessions and sandboxes."""

    def __init__(self) -> None:
        super().__init__("executor")
        outcomes = self.counter("snippets", "Snippets by outcome.", ["outcome"])
        self._ended = {number: outcomes.labels(_label(name)) for name, number in pb.Outcome.items()}
        self._queue = self.histogram("queue_seconds", "Time a snippet waited before it ran.", UP_TO_MINUTES)
        self._wall = self.histogram("wall_seconds", "Wall-clock time a snippet ran.", UP_TO_MINUTES)
        self._open = self.histogram("open_seconds", "Time to acquire a sandbox for a session.", UP_TO_A_SECOND)
        self._kill = self.histogram(
            "kill_latency_seconds",
            "Time from a time limit to the death of the sandbox killed for it.",
            UP_TO_A_SECOND,
        )

    def sandbox_acquired(self, seconds: float) -> None:
        """Observe the time in which a session got its sandbox."""
        self._open.observe(seconds)

    def sandbox_killed(self, seconds: float) -> None:
        """Observe the time from a time limit to the death of the killed sandbox."""
        self._kill.observe(seconds)

    def snippet_ran(self, result: pb.SnippetResult) -> None:
        """Count a snippet that ran, or whose client disconnected while it ran."""
        self._ended[result.outcome].inc()
        if result.outcome != pb.OUTCOME_UNSPECIFIED:
            self._queue.observe(result.usage.queue_ms / 1e3)
            self._wall.observe(result.usage.wall_ms / 1e3)

    def watch_state(self, admission: SessionAdmission, pool: SandboxPool, audit: AuditLog) -> None:
        """Read the state of these objects at each scrape, in the running event loop."""

        def read() -> Iterable[Metric]:
            yield from self._load(admission, pool)
            yield from self._sandboxes(pool)
            yield self.count("audit_lines_lost", "Audit lines that could not be written.", audit.lost)

        self.on_scrape(read)

    def _load(self, admission: SessionAdmission, pool: SandboxPool) -> Iterable[Metric]:
        slots = admission.slots
        yield self.gauge("live_sessions", "Open sessions.", admission.sessions)
        yield self.gauge("maximum_sessions", "Maximum number of open sessions.", admission.maximum_sessions)
        occupancy = "Share of the sessions in use, or of the memory for idle sandboxes if that is higher."
        sessions = admission.sessions / admission.maximum_sessions
        yield self.gauge("occupancy_ratio", occupancy, max(sessions, pool.memory.idle_share))
        yield self.gauge("running_snippets", "Running snippets.", slots.running)
        yield self.gauge("queued_snippets", "Snippets waiting for a slot.", slots.queued)
        yield self.gauge("maximum_running_snippets", "Slots for running snippets.", slots.total)
        demand = "Running and queued snippets per slot; more than 1 if snippets wait."
        yield self.gauge("slot_demand_ratio", demand, (slots.running + slots.queued) / slots.total)
        yield self.count("refusals", "Streams and sessions refused, by reason.", admission.refusals, "reason")

    def _sandboxes(self, pool: SandboxPool) -> Iterable[Metric]:
        memory = pool.memory
        yield self.gauge("waiting_sandboxes", "Locked-down sandboxes waiting for a session.", pool.waiting)
        yield self.count("sandbox_cpu_seconds", "Processor time of the sandboxes.", pool.cpu_seconds)
        yield self.gauge("sandbox_memory_bytes", "Memory that sandboxes hold.", memory.held_bytes())
        yield self.gauge("sandbox_memory_limit_bytes", "Memory that sandboxes may hold.", memory.usable_bytes)
        reserved = "Memory set aside for running snippets; idle sandboxes share the rest."
        yield self.gauge("sandbox_memory_reserved_bytes", reserved, memory.reserved_bytes)
        yield self.count("evictions", "Sandboxes evicted for their memory.", memory.evictions)
        yield self.count("zygote_restarts", "Zygotes replaced.", pool.replacements)


def _label(outcome: str) -> str:
    return outcome.removeprefix("OUTCOME_").lower().replace("unspecified", _ABANDONED)

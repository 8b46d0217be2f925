"""What Prometheus is told: how snippets ended, how long things took, and how busy the service is."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deepmath.errors import Unavailable
from deepmath.executor.v1 import executor_pb2 as pb
from services.executor.audit import Audit
from services.executor.gate import Gate
from services.executor.pool import Pool

_PREFIX = "deepmath_executor_"
_ABANDONED = "abandoned"  # the client went before there was an outcome
_LOOP_SECONDS = 5.0
_UP_TO_A_SECOND = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_UP_TO_MINUTES = (*_UP_TO_A_SECOND, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0)


class Metrics:
    """Counts what happens to snippets. No label has a value that a client could choose."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        outcomes = Counter(
            f"{_PREFIX}snippets", "Snippets by how they ended.", ["outcome"], registry=self.registry
        )  # fmt: skip
        self._ended = {number: outcomes.labels(_label(name)) for name, number in pb.Outcome.items()}
        self._refused = self._counter("preflight_refusals", "Snippets that were refused before they ran.")
        self._queue = self._histogram("queue_seconds", "Time in the service before a snippet ran.", _UP_TO_MINUTES)
        self._wall = self._histogram("wall_seconds", "Time that a snippet ran.", _UP_TO_MINUTES)
        self._open = self._histogram("open_seconds", "Time to take a sandbox for a session.", _UP_TO_A_SECOND)
        self._kill = self._histogram(
            "kill_latency_seconds", "From a time limit to the death of the sandbox killed for it.", _UP_TO_A_SECOND
        )

    def _counter(self, name: str, help: str) -> Counter:
        return Counter(_PREFIX + name, help, registry=self.registry)

    def _histogram(self, name: str, help: str, buckets: Iterable[float]) -> Histogram:
        return Histogram(_PREFIX + name, help, buckets=tuple(buckets), registry=self.registry)

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

    def watch(self, gate: Gate, pool: Pool, audit: Audit) -> None:
        """Tell of the state of these too, as it is when somebody asks. Call it in the loop that they live in."""
        self.registry.register(_Now(gate, pool, audit))


def _label(outcome: str) -> str:
    return outcome.removeprefix("OUTCOME_").lower().replace("unspecified", _ABANDONED)


class _Now(Collector):
    """Reads the state of the service in its own loop, because the server of the metrics has threads of its own."""

    def __init__(self, gate: Gate, pool: Pool, audit: Audit) -> None:
        self._gate, self._pool, self._audit = gate, pool, audit
        self._loop = asyncio.get_running_loop()

    def collect(self) -> Iterable[Metric]:
        """Return the metrics.

        Raises:
            TimeoutError: the loop is stuck.
        """
        return asyncio.run_coroutine_threadsafe(self._read(), self._loop).result(_LOOP_SECONDS)

    async def _read(self) -> list[Metric]:
        refusals = CounterMetricFamily(
            f"{_PREFIX}refusals", "Streams and sessions that were not let in, by reason.", labels=["reason"]
        )
        for reason, count in self._gate.refusals.items():
            refusals.add_metric([reason], count)
        gauges = {
            "waiting_sandboxes": ("Sandboxes locked down and waiting for a session.", self._pool.waiting),
            "live_sessions": ("Sessions open.", self._gate.sessions),
            "running_snippets": ("Snippets running.", self._gate.running),
            "queued_snippets": ("Snippets waiting for a slot.", self._gate.queued),
        }
        counters = {
            "zygote_restarts": ("Replacements of what sandboxes are forked from.", self._pool.replacements),
            "audit_lines_lost": ("Lines of the audit log that could not be written.", self._audit.lost),
        }
        return [
            refusals,
            *(GaugeMetricFamily(_PREFIX + name, help, value) for name, (help, value) in gauges.items()),
            *(CounterMetricFamily(_PREFIX + name, help, value) for name, (help, value) in counters.items()),
        ]


@asynccontextmanager
async def serving(registry: CollectorRegistry, listen: str) -> AsyncIterator[None]:
    """Serve the metrics over HTTP on `listen`, HOST:PORT, for as long as the block lasts; nowhere if it is empty.

    Raises:
        Unavailable: the address cannot be had.
    """
    if not listen:
        yield
        return
    host, _, port = listen.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), registry)
    except OSError as error:
        raise Unavailable(
            f"cannot serve metrics on {listen}: {error.strerror}; give another address with --metrics-listen"
        ) from error
    print(f"metrics on {host}:{server.server_port}", flush=True)
    try:
        yield
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()

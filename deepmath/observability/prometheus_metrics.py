"""What all services tell Prometheus in common: names, time scales, calls by status, and the page that it reads.

Names are `deepmath_<service>_<what>_<unit>`. No label has a value that a client could choose.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deepmath import __version__
from deepmath.errors import Unavailable

UP_TO_A_SECOND = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
UP_TO_MINUTES = (*UP_TO_A_SECOND, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0)
UP_TO_AN_HOUR = (*UP_TO_MINUTES, 300.0, 600.0, 1800.0, 3600.0)
_LOOP_SECONDS = 5.0
_UNKNOWN = "unknown"  # a method that the service does not have: its name is the client's

Value: TypeAlias = float | Mapping[str, float]
"""A number, or one for each value of a label."""


class PrometheusMetrics:
    """What one service counts. Subclasses add their own."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(
            _Fixed(self.gauge("build_info", "Version of this software.", {__version__: 1}, "version"))
        )
        self._rpcs = self.counter("rpcs", "gRPC calls by method and by how they ended.", ["method", "status"])
        self._rpc_seconds = self.histogram("rpc_seconds", "Time from a call to its end.", UP_TO_AN_HOUR, ["method"])

    def counter(self, name: str, help: str, labels: Sequence[str] = ()) -> Counter:
        """Return a new counter; Prometheus adds `_total` to its name."""
        return Counter(self._full(name), help, labels, registry=self.registry)

    def histogram(self, name: str, help: str, buckets: Sequence[float], labels: Sequence[str] = ()) -> Histogram:
        """Return a new histogram with these upper bounds."""
        return Histogram(self._full(name), help, labels, buckets=buckets, registry=self.registry)

    def gauge(self, name: str, help: str, value: Value, label: str = "") -> Metric:
        """Return a gauge as it is at this moment, for `watch`; with a `label`, one for each of its values."""
        return _filled(GaugeMetricFamily(self._full(name), help, labels=[label] if label else []), value)

    def count(self, name: str, help: str, value: Value, label: str = "") -> Metric:
        """Return a counter that is kept elsewhere, for `watch`; with a `label`, one for each of its values."""
        return _filled(CounterMetricFamily(self._full(name), help, labels=[label] if label else []), value)

    def watch(self, read: Callable[[], Iterable[Metric]]) -> None:
        """Call `read` in the running event loop whenever somebody asks, and tell what it returns too."""
        self.registry.register(_Now(read))

    def called(self, method: str | None, status: str, seconds: float) -> None:
        """Count a call. `method` is None where the service does not have it."""
        self._rpcs.labels(method or _UNKNOWN, status.lower()).inc()
        self._rpc_seconds.labels(method or _UNKNOWN).observe(seconds)

    def _full(self, name: str) -> str:
        return f"deepmath_{self.service}_{name}"


def _filled(family: GaugeMetricFamily | CounterMetricFamily, value: Value) -> Metric:
    for label, number in value.items() if isinstance(value, Mapping) else [(None, value)]:
        family.add_metric([] if label is None else [label], number)
    return family


class _Fixed(Collector):
    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return [self._metric]


class _Now(Collector):
    """Reads the state of the service in its own loop, because the server of the metrics has threads of its own."""

    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read
        self._loop = asyncio.get_running_loop()

    def collect(self) -> Iterable[Metric]:
        """Return the metrics.

        Raises:
            TimeoutError: the loop is stuck.
        """
        return asyncio.run_coroutine_threadsafe(self._in_loop(), self._loop).result(_LOOP_SECONDS)

    async def _in_loop(self) -> list[Metric]:
        return list(self._read())


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

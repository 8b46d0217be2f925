"""Prometheus metrics that all services share: naming, buckets and the state of the service.

Names are `deepmath_<service>_<what>_<unit>`. No label takes a value that a client can choose.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deepmath import __version__
from deepmath.observability.logs import lost_lines

UP_TO_A_SECOND = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
UP_TO_MINUTES = (*UP_TO_A_SECOND, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0)
UP_TO_AN_HOUR = (*UP_TO_MINUTES, 300.0, 600.0, 1800.0, 3600.0)
_SCRAPE_SECONDS = 5.0

MetricValue: TypeAlias = float | Mapping[str, float]
"""A number, or one for each value of a label."""


class PrometheusMetrics:
    """The metrics of one service. Subclasses add their own.

    A series exists, at zero, before it first counts something: Prometheus would take the first value that it sees for
    the old one, and miss a burst.

    Attributes:
        serving: Whether the service accepts calls: false while it starts and while it drains.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self.serving = False
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_OwnMetrics(self))

    def counter(self, name: str, help: str, labels: Sequence[str] = ()) -> Counter:
        """Return a new counter; Prometheus adds `_total` to its name."""
        return Counter(self._full_name(name), help, labels, registry=self.registry)

    def histogram(self, name: str, help: str, buckets: Sequence[float], labels: Sequence[str] = ()) -> Histogram:
        """Return a new histogram with these upper bounds."""
        return Histogram(self._full_name(name), help, labels, buckets=buckets, registry=self.registry)

    def gauge(self, name: str, help: str, value: MetricValue, label: str = "") -> Metric:
        """Return a gauge with its current value, for `on_scrape`; with a `label`, one sample for each of its values."""
        return _filled(GaugeMetricFamily(self._full_name(name), help, labels=[label] if label else []), value)

    def count(self, name: str, help: str, value: MetricValue, label: str = "") -> Metric:
        """Return a counter kept elsewhere, for `on_scrape`; with a `label`, one sample for each of its values."""
        return _filled(CounterMetricFamily(self._full_name(name), help, labels=[label] if label else []), value)

    def on_scrape(self, read: Callable[[], Iterable[Metric]]) -> None:
        """Call `read` in the running event loop at each scrape, and expose the metrics that it returns."""
        self.registry.register(_LoopCollector(read))

    def watch_certificate(self, expiry: Callable[[], float]) -> None:
        """Expose the expiry of the served certificate, which `expiry` returns as Unix time, at each scrape."""
        name = self._full_name("certificate_expiry_timestamp_seconds")
        gauge = Gauge(name, "Expiry of the served TLS certificate, as Unix time.", registry=self.registry)
        gauge.set_function(expiry)

    def _full_name(self, name: str) -> str:
        return f"deepmath_{self.service}_{name}"


def _filled(family: GaugeMetricFamily | CounterMetricFamily, value: MetricValue) -> Metric:
    for label, number in value.items() if isinstance(value, Mapping) else [(None, value)]:
        family.add_metric([] if label is None else [label], number)
    return family


class _OwnMetrics(Collector):
    """Metrics that do not depend on the event loop."""

    def __init__(self, metrics: PrometheusMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        yield self._metrics.gauge("serving", "Whether the service accepts calls.", self._metrics.serving)
        yield self._metrics.gauge("build_info", "Version of this software.", {__version__: 1}, "version")
        yield self._metrics.count("log_lines_lost", "Log lines that could not be written.", lost_lines())


class _LoopCollector(Collector):
    """Reads the service's state in the service's event loop; the metrics server has threads of its own."""

    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read
        self._loop = asyncio.get_running_loop()

    def collect(self) -> Iterable[Metric]:
        """Return the metrics.

        Raises:
            TimeoutError: The event loop is blocked.
        """
        return asyncio.run_coroutine_threadsafe(self._in_loop(), self._loop).result(_SCRAPE_SECONDS)

    async def _in_loop(self) -> list[Metric]:
        return list(self._read())

"""Prometheus metrics of the gateway: requests by protocol and status, durations and connections."""

from collections.abc import Callable, Iterable

from prometheus_client.core import Metric

from deepmath.observability.prometheus_metrics import UP_TO_AN_HOUR, PrometheusMetrics

_STATUSES = ("2xx", "3xx", "4xx", "5xx", "cancelled")


class GatewayMetrics(PrometheusMetrics):
    """Counts requests, and observes their durations."""

    def __init__(self) -> None:
        super().__init__("gateway")
        labels = ["protocol", "status"]
        self._requests = self.counter("requests", "HTTP requests by protocol and class of status.", labels)
        self._seconds = self.histogram("request_seconds", "Duration of an HTTP request.", UP_TO_AN_HOUR, ["protocol"])
        self.in_flight = 0
        """Requests that are being answered."""

    def expect_requests(self, protocols: Iterable[str]) -> None:
        """Create the series of these protocols, for every status."""
        for protocol in protocols:
            self._seconds.labels(protocol)
            for status in _STATUSES:
                self._requests.labels(protocol, status)

    def record_request(self, protocol: str, status: int | None, seconds: float) -> None:
        """Count a request; its `status` is None if it was cancelled before a response."""
        self._requests.labels(protocol, "cancelled" if status is None else f"{status // 100}xx").inc()
        self._seconds.labels(protocol).observe(seconds)

    def watch_state(self, connections: Callable[[], int]) -> None:
        """Read the load at each scrape, in the running event loop."""

        def read() -> Iterable[Metric]:
            yield self.gauge("requests_in_flight", "Requests that are being answered.", self.in_flight)
            yield self.gauge("connections", "Open connections.", connections())

        self.on_scrape(read)

    def watch_sessions(self, sessions: Callable[[], int]) -> None:
        """Read the number of open sessions at each scrape, in the running event loop."""
        self.on_scrape(lambda: [self.gauge("sessions", "Open sessions of the sandbox protocols.", sessions())])

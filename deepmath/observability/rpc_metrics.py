"""Prometheus metrics of a gRPC service: its calls by method and status."""

from collections.abc import Iterable

import grpc

from deepmath.observability.prometheus_metrics import UP_TO_AN_HOUR, PrometheusMetrics

_UNKNOWN_METHOD = "unknown"  # the name of a method that does not exist is the client's choice


class RpcMetrics(PrometheusMetrics):
    """The metrics of one gRPC service. Subclasses add their own."""

    def __init__(self, service: str) -> None:
        super().__init__(service)
        self._rpcs = self.counter("rpcs", "RPCs by method and status.", ["method", "status"])
        self._rpc_seconds = self.histogram("rpc_seconds", "Duration of an RPC.", UP_TO_AN_HOUR, ["method"])

    def expect_calls(self, methods: Iterable[str]) -> None:
        """Create the series of these methods, each `package.Service/Method`, for every status."""
        for method in methods:
            self._rpc_seconds.labels(method)
            for status in grpc.StatusCode:
                self._rpcs.labels(method, status.name.lower())

    def record_call(self, method: str | None, status: str, seconds: float) -> None:
        """Count an RPC. `method` is None if the service does not have it."""
        self._rpcs.labels(method or _UNKNOWN_METHOD, status.lower()).inc()
        self._rpc_seconds.labels(method or _UNKNOWN_METHOD).observe(seconds)

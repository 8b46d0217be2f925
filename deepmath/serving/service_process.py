"""The life of a service process: serve, drain after a signal, stop."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

from deepmath.errors import Unavailable
from deepmath.observability.metrics_server import serve_metrics
from deepmath.observability.prometheus_metrics import PrometheusMetrics
from deepmath.observability.rpc_metrics import RpcMetrics
from deepmath.observability.standard_streams import announce
from deepmath.observability.tracing import export_spans
from deepmath.serving.grpc_config import GrpcServiceConfig
from deepmath.serving.grpc_server import GrpcServer, Register
from deepmath.serving.service_config import ServiceConfig


@asynccontextmanager
async def observed(config: ServiceConfig, metrics: PrometheusMetrics) -> AsyncIterator[None]:
    """Serve `metrics` on `config.metrics_listen` and export spans to `config.otlp` for the duration of the block.

    Enter it before what takes long, such as loading a model: a service that starts answers scrapes, with its metric
    `serving` at 0.

    Raises:
        Unavailable: The address cannot be bound, or spans cannot be exported.
    """
    async with serve_metrics(metrics.registry, config.metrics_listen), export_spans(metrics.service, config.otlp):
        yield


async def _drain_nothing() -> None:
    pass


class RunningServer(Protocol):
    """A server that accepts calls."""

    @property
    def address(self) -> str:
        """The address that it serves, with the port filled in."""

    @property
    def health_address(self) -> str:
        """The address of its health reports without TLS; empty if there is none."""

    def report_not_serving(self) -> None:
        """Report from now on that it does not serve."""

    async def stop(self, grace_s: float) -> None:
        """Reject new calls, and cancel those still in flight after `grace_s` seconds."""


async def serve(
    config: GrpcServiceConfig,
    services: Mapping[str, Register],
    drain: Callable[[], Coroutine[Any, Any, None]] = _drain_nothing,
    broken: asyncio.Event | None = None,
    metrics: RpcMetrics | None = None,
) -> None:
    """Serve gRPC as `run_server` does, until SIGTERM or SIGINT. `metrics` count the calls; `observed` serves them.

    Raises:
        Unavailable: An address cannot be bound, or the service is `broken`.
    """
    await run_server(lambda: GrpcServer.start(config, services, metrics), config.drain_seconds, drain, broken)


async def run_server(
    start: Callable[[], Awaitable[RunningServer]],
    drain_s: float,
    drain: Callable[[], Coroutine[Any, Any, None]] = _drain_nothing,
    broken: asyncio.Event | None = None,
) -> None:
    """Start a server, and run it until SIGTERM or SIGINT. Then drain and stop it within `drain_s`.

    Health reports NOT_SERVING as soon as a signal arrives, and `drain` stops admission. A second signal, during the
    drain too, stops the service at once. A service that has lost a dependency sets `broken`, which stops it the same
    way but with an error.

    Raises:
        Unavailable: An address cannot be bound, or the service is `broken`.
    """
    stop_requested = _stop_signal()
    server = await start()
    if server.health_address:
        announce(f"health on {server.health_address}")
    announce(f"serving on {server.address}")
    await _wait_for_first(event.wait() for event in (stop_requested, broken) if event)
    healthy = stop_requested.is_set()
    stop_requested.clear()
    server.report_not_serving()
    try:
        await _wait_for_first([drain(), stop_requested.wait()])
        if not stop_requested.is_set():
            await _wait_for_first([server.stop(drain_s), stop_requested.wait()])
    finally:
        await server.stop(0)  # a server that is never stopped blocks the exit of the process
    if not healthy:
        raise Unavailable("the service has lost a dependency; see the log above")


async def _wait_for_first(waits: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """Wait until one of `waits` is done, cancel the others, and raise what it raised."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()


def _stop_signal() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set."""
    requested = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, requested.set)
    return requested

"""How every service runs: one asyncio gRPC server with health, reflection, error mapping and a graceful end."""

from __future__ import annotations  # grpc's classes are generic in their stubs only

import asyncio
import inspect
import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from deepmath.access.access_interceptor import AccessInterceptor
from deepmath.access.tls import server_credentials
from deepmath.errors import PUSHBACK, DeepMathError, Overloaded, Unavailable
from deepmath.observability import request_id, tracing
from deepmath.observability.call_interceptor import CallInterceptor
from deepmath.observability.prometheus_metrics import PrometheusMetrics, serving
from deepmath.rpc.addresses import is_unix, stays_here
from deepmath.serving.connection_limits import connection_options
from deepmath.serving.service_config import ServiceConfig

log = logging.getLogger(__name__)

Register = Callable[[grpc.aio.Server], None]

EXIT_TERMINATED = 143  # 128 + SIGTERM


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """The one place where an exception becomes a gRPC status."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler of a call so that it ends with the status of what it raises."""
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None
        kind = ("stream" if handler.request_streaming else "unary") + (
            "_stream" if handler.response_streaming else "_unary"
        )
        wrap = _guard_generator if inspect.isasyncgenfunction(getattr(handler, kind)) else _guard_coroutine
        wrapped: grpc.RpcMethodHandler[Any, Any] = handler._replace(**{kind: wrap(getattr(handler, kind))})
        return wrapped


def _guard_coroutine(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await method(request, context)
        except Exception as error:
            await _abort(context, error)

    return guarded


def _guard_generator(method: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        try:
            async for response in method(request, context):
                yield response
        except Exception as error:
            await _abort(context, error)

    return guarded


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: Exception) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, DeepMathError):
        metadata = tuple(context.trailing_metadata())
        if isinstance(error, Overloaded):
            metadata += ((PUSHBACK, str(error.retry_after_ms)),)
        await context.abort(error.status, str(error), metadata)
    log.error("a call failed by a defect of this service", exc_info=error)
    message = f"the service failed; its log says why, at request {request_id.current.get()}"
    await context.abort(grpc.StatusCode.INTERNAL, message)


async def _nothing() -> None:
    pass


class GrpcServer:
    """A running gRPC server. `address` is where it listens, the port filled in.

    `probed` is where health alone is answered, empty where it is not.
    """

    def __init__(
        self, servers: Sequence[grpc.aio.Server], healths: health.aio.HealthServicer, address: str, probed: str
    ) -> None:
        self._servers, self._healths, self.address, self.probed = servers, healths, address, probed

    @classmethod
    async def start(
        cls, config: ServiceConfig, services: Mapping[str, Register], metrics: PrometheusMetrics | None = None
    ) -> GrpcServer:
        """Start to serve. `services` maps each full service name to the function that adds its servicer.

        `metrics` counts the calls.

        Raises:
            Unavailable: `config.listen` or `config.health_listen` cannot be bound.
            InvalidRequest: the files of `config.tls` or `config.tokens` cannot be used.
        """
        server = grpc.aio.server(
            interceptors=[CallInterceptor(metrics), ErrorInterceptor(), AccessInterceptor(config.tokens)],
            options=[("grpc.max_receive_message_length", config.max_message_bytes), *connection_options(config)],
        )
        for register in services.values():
            register(server)
        healths = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(healths, server)
        reflection.enable_server_reflection([*services, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
        in_tls = config.tls if not is_unix(config.listen) else None
        address = _bind(server, config.listen, server_credentials(in_tls) if in_tls else None)
        if not (in_tls or stays_here(config.listen)):
            log.warning("%s is served without TLS: whoever reaches it can call, and others can listen in", address)
        servers, probed = [server], ""
        if config.health_listen:
            prober = grpc.aio.server(options=connection_options(config))
            health_pb2_grpc.add_HealthServicer_to_server(healths, prober)
            probed = _bind(prober, config.health_listen)
            servers.append(prober)
        for one in servers:
            await one.start()
        for name in ("", *services):
            await healths.set(name, health_pb2.HealthCheckResponse.SERVING)
        return cls(servers, healths, address, probed)

    async def tell_of_end(self) -> None:
        """Say from now on that it does not serve."""
        await self._healths.enter_graceful_shutdown()

    async def stop(self, grace_s: float) -> None:
        """Take no new calls, give those in flight `grace_s` seconds, then cancel them."""
        await self.tell_of_end()
        await asyncio.gather(*(server.stop(grace_s) for server in self._servers))


def end_at_sigterm() -> None:
    """Have SIGTERM end this process, as if by `sys.exit`, until `serve` has a use for it. To be called first of all.

    As process 1 of a container it would else not be heard while a model loads.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))


async def serve(
    config: ServiceConfig,
    services: Mapping[str, Register],
    drain: Callable[[], Coroutine[Any, Any, None]] = _nothing,
    broken: asyncio.Event | None = None,
    metrics: PrometheusMetrics | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; then call `drain` (stop admitting there) and stop within `config.drain_seconds`.

    Health says so from the first. Asked a second time, also while it drains, it stops at once.

    `broken` is set by a service that has lost what it needs: it stops as if asked to, but not in peace.

    `metrics` are served on `config.metrics_listen`, and spans sent to `config.otlp`.

    Raises:
        Unavailable: an address cannot be bound, traces cannot be sent, or the service is `broken`.
    """
    async with AsyncExitStack() as observed:
        if metrics:
            await observed.enter_async_context(serving(metrics.registry, config.metrics_listen))
            await observed.enter_async_context(tracing.exporting(metrics.service, config.otlp))
        asked = _asked_to_end()
        server = await GrpcServer.start(config, services, metrics)
        if server.probed:
            print(f"health on {server.probed}", flush=True)
        print(f"serving on {server.address}", flush=True)
        await _first(event.wait() for event in (asked, broken) if event)
        in_peace = asked.is_set()
        asked.clear()
        await server.tell_of_end()
        try:
            await _first([drain(), asked.wait()])
            if not asked.is_set():
                await _first([server.stop(config.drain_seconds), asked.wait()])
        finally:
            await server.stop(0)  # one that was never stopped would hold up the end for ever
    if not in_peace:
        raise Unavailable("the service has lost what it needs to work; the log above says what")


async def _first(waits: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """Wait for one of `waits`, raise what it raises, and cancel the others."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    ended, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    for task in ended:
        task.result()


def _bind(server: grpc.aio.Server, listen: str, credentials: grpc.ServerCredentials | None = None) -> str:
    try:
        port = server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
    except RuntimeError as error:
        raise Unavailable(f"cannot listen on {listen}: is it in use, or not an address of this machine?") from error
    return listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"


def _asked_to_end() -> asyncio.Event:
    """Return an event that SIGTERM or SIGINT sets."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    return asked

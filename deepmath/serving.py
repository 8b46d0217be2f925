"""How every service runs: one asyncio gRPC server with health, reflection, error mapping and a graceful end."""

from __future__ import annotations  # grpc's classes are generic in their stubs only

import asyncio
import inspect
import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from deepmath.config import ServiceConfig
from deepmath.errors import PUSHBACK, DeepMathError, Overloaded, Unavailable

log = logging.getLogger(__name__)

Register = Callable[[grpc.aio.Server], None]


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
        metadata = ((PUSHBACK, str(error.retry_after_ms)),) if isinstance(error, Overloaded) else ()
        await context.abort(error.status, str(error), metadata)
    log.error("a call failed by a defect of this service", exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, "the service failed; its log says why")


async def _nothing() -> None:
    pass


class Server:
    """A running gRPC server. `address` is where it listens, the port filled in."""

    def __init__(self, server: grpc.aio.Server, healths: health.aio.HealthServicer, address: str) -> None:
        self._server, self._healths, self.address = server, healths, address

    @classmethod
    async def start(cls, config: ServiceConfig, services: Mapping[str, Register]) -> Server:
        """Start to serve. `services` maps each full service name to the function that adds its servicer.

        Raises:
            Unavailable: `config.listen` cannot be bound.
        """
        server = grpc.aio.server(
            interceptors=[ErrorInterceptor()],
            options=[
                ("grpc.max_receive_message_length", config.max_message_bytes),
                ("grpc.so_reuseport", 0),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # our clients ping every 20 s
            ],
        )
        for register in services.values():
            register(server)
        healths = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(healths, server)
        reflection.enable_server_reflection([*services, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
        address = _bind(server, config.listen)
        await server.start()
        for name in ("", *services):
            await healths.set(name, health_pb2.HealthCheckResponse.SERVING)
        return cls(server, healths, address)

    async def stop(self, grace_s: float) -> None:
        """Take no new calls, give those in flight `grace_s` seconds, then cancel them."""
        await self._healths.enter_graceful_shutdown()
        await self._server.stop(grace_s)


async def serve(
    config: ServiceConfig,
    services: Mapping[str, Register],
    drain: Callable[[], Awaitable[None]] = _nothing,
    broken: asyncio.Event | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; then call `drain` (stop admitting there) and stop within `config.drain_seconds`.

    Asked a second time, it stops at once.

    `broken` is set by a service that has lost what it needs: it stops as if asked to, but not in peace.

    Raises:
        Unavailable: `config.listen` cannot be bound, or the service is `broken`.
    """
    server = await Server.start(config, services)
    print(f"serving on {server.address}", flush=True)
    asked = _asked_to_end()
    await _first(event.wait() for event in (asked, broken) if event)
    in_peace = asked.is_set()
    asked.clear()
    await drain()
    await _first([server.stop(config.drain_seconds), asked.wait()])  # asked again: at once
    if not in_peace:
        raise Unavailable("the service has lost what it needs to work; the log above says what")


async def _first(waits: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """Wait for one of `waits` and cancel the others."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _bind(server: grpc.aio.Server, listen: str) -> str:
    try:
        port = server.add_insecure_port(listen)
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


def set_up_logging(level: str) -> None:
    """Log to stderr from `level` on: debug, info, warning or error."""
    logging.basicConfig(
        level=level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )

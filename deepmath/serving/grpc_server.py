"""The gRPC server of a service: interceptors, health, reflection, TLS and connection limits."""

from __future__ import annotations  # grpc's classes are generic in their stubs only

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import grpc
from google.protobuf import descriptor_pool
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from deepmath.access.access_interceptor import AccessInterceptor
from deepmath.access.certificate_expiry import expiry
from deepmath.access.tls import server_credentials, watch_tls_files
from deepmath.errors import Unavailable
from deepmath.observability.call_interceptor import CallInterceptor
from deepmath.observability.rpc_metrics import RpcMetrics
from deepmath.rpc.addresses import is_local, is_unix_socket
from deepmath.serving.connection_limits import connection_options, health_connection_options
from deepmath.serving.error_interceptor import ErrorInterceptor
from deepmath.serving.grpc_config import GrpcServiceConfig
from deepmath.serving.health_service import HealthService
from deepmath.serving.idle_interceptor import IdleInterceptor
from deepmath.serving.request_interceptor import RequestInterceptor
from deepmath.serving.unix_socket_mode import no_access_for_others

log = logging.getLogger(__name__)

Register = Callable[[grpc.aio.Server], None]
"""Adds a servicer to a server."""


class GrpcServer:
    """A running server.

    `address` is the address it listens on, with the port filled in; `health_address` is that of the plaintext health
    endpoint, empty if there is none.
    """

    def __init__(
        self,
        servers: Sequence[grpc.aio.Server],
        health_service: HealthService,
        address: str,
        health_address: str,
        metrics: RpcMetrics | None = None,
    ) -> None:
        self._servers, self._health_service, self._metrics = servers, health_service, metrics
        self.address, self.health_address = address, health_address

    @classmethod
    async def start(
        cls, config: GrpcServiceConfig, services: Mapping[str, Register], metrics: RpcMetrics | None = None
    ) -> GrpcServer:
        """Start serving `services`, each by its full name. `metrics` counts the calls.

        Raises:
            Unavailable: `config.listen` or `config.health_listen` cannot be bound.
            InvalidRequest: The files of `config.tls` or `config.tokens` are unusable.
        """
        requests = RequestInterceptor(
            config.max_unread_bytes,
            config.max_message_bytes,
            config.receive_seconds,
            config.max_calls,
            config.max_message_fields,
        )
        access = AccessInterceptor(config.tokens)
        server = grpc.aio.server(
            interceptors=[CallInterceptor(metrics), ErrorInterceptor(), access, IdleInterceptor(), requests],
            options=connection_options(config),
        )
        for register in services.values():
            register(server)
        health_service = HealthService(services)
        health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
        reflection.enable_server_reflection([*services, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
        tls = config.tls if not is_unix_socket(config.listen) else None
        files = watch_tls_files(tls) if tls else None
        address = _bind(server, config.listen, server_credentials(files) if files else None)
        if metrics:
            metrics.expect_calls(_methods(services))
            if files:
                metrics.watch_certificate(lambda: expiry(files.value.certificate))
        if not (tls or is_local(config.listen)):
            log.warning("%s is served without TLS: anyone who can reach it can call it and read its traffic", address)
        servers, health_address = [server], ""
        if config.health_listen:
            health_server = grpc.aio.server(
                interceptors=[ErrorInterceptor(), requests], options=health_connection_options(config)
            )
            health_pb2_grpc.add_HealthServicer_to_server(health_service, health_server)
            health_address = _bind(health_server, config.health_listen)
            servers.append(health_server)
        for one in servers:
            await one.start()
        if metrics:
            metrics.serving = True
        return cls(servers, health_service, address, health_address, metrics)

    def report_not_serving(self) -> None:
        """Report NOT_SERVING from now on."""
        self._health_service.report_not_serving()
        if self._metrics:
            self._metrics.serving = False

    async def stop(self, grace_s: float) -> None:
        """Reject new calls, and cancel those still in flight after `grace_s` seconds."""
        self.report_not_serving()
        await asyncio.gather(*(server.stop(grace_s) for server in self._servers))


def _methods(services: Iterable[str]) -> Iterator[str]:
    known = descriptor_pool.Default()  # type: ignore[no-untyped-call]
    for service in map(known.FindServiceByName, services):
        yield from (f"{service.full_name}/{method.name}" for method in service.methods)


def _bind(server: grpc.aio.Server, listen: str, credentials: grpc.ServerCredentials | None = None) -> str:
    try:
        with no_access_for_others():
            port = server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
    except RuntimeError as error:
        raise Unavailable(f"cannot listen on {listen}: is it in use, or not an address of this machine?") from error
    return listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"

"""The HTTP server of the gateway: uvicorn in this process, with our sockets, TLS, limits and shutdown."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp
from uvicorn import Config, Server

from deepmath.access.certificate_expiry import expiry
from deepmath.access.tls import watch_tls_files
from deepmath.errors import Unavailable
from deepmath.rpc.addresses import is_local, is_unix_socket
from deepmath.serving.unix_socket_mode import no_access_for_others
from deepmath_gateway.bounded_connection import BoundedConnection, ConnectionTable
from deepmath_gateway.config import GatewayConfig
from deepmath_gateway.gateway_app import Gateway, create_app
from deepmath_gateway.health_checks import HealthChecks
from deepmath_gateway.metrics import GatewayMetrics
from deepmath_gateway.server_tls import server_context

log = logging.getLogger(__name__)
logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # its warnings are of what any client can send

_BACKLOG = 1024
_LEAST_GRACE_S = 0.5  # for cancelled requests to end
_HEALTH_CONNECTIONS, _HEALTH_IDLE_S, _HEALTH_GRACE_S = 256, 10.0, 1


class ListeningServer(Server):
    """uvicorn's server on one address, without its handling of signals."""

    def __init__(self, app: ASGIApp, listen: str, settings: GatewayConfig, *, health: bool = False) -> None:
        self._settings = settings
        idle_s = _HEALTH_IDLE_S if health else settings.connection_idle_seconds
        most = _HEALTH_CONNECTIONS if health else settings.max_connections
        self.table = ConnectionTable(most, settings.handshake_seconds, idle_s)
        tls = None if health or is_unix_socket(listen) else settings.tls
        self._tls = server_context(tls, require_certificate=not settings.tokens) if tls else None
        self._socket = _bind(listen)
        port = "" if is_unix_socket(listen) else self._socket.getsockname()[1]
        self.address = listen if is_unix_socket(listen) else f"{listen.rpartition(':')[0]}:{port}"
        self.ready = asyncio.Event()
        super().__init__(
            Config(
                app,
                http=BoundedConnection,
                ws="websockets-sansio",
                ws_max_size=settings.max_message_bytes,
                lifespan="off" if health else "on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=idle_s,  # type: ignore[arg-type]  # seconds of call_later
                h11_max_incomplete_event_size=settings.max_header_bytes,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the service."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Start the application and serve on our socket.

        Raises:
            Unavailable: The application does not start.
        """
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise Unavailable("a protocol of the gateway did not start; see the log above")
        more: dict[str, Any] = {"ssl_handshake_timeout": self._settings.handshake_seconds} if self._tls else {}
        create = asyncio.get_running_loop().create_server
        server = await create(self._connect, sock=self._socket, ssl=self._tls, backlog=_BACKLOG, **more)
        self.servers = [server]
        self.started = True
        self.ready.set()

    def _connect(self) -> BoundedConnection:
        return BoundedConnection(self.config, self.server_state, self.lifespan.state, self.table)


class HttpServer:
    """The running gateway: its own server, and that of plaintext health checks if it has an address."""

    def __init__(
        self, metrics: GatewayMetrics, servers: list[ListeningServer], tasks: list[asyncio.Task[None]]
    ) -> None:
        self._metrics, self._servers, self._tasks = metrics, servers, tasks
        self.address = servers[0].address
        self.health_address = servers[1].address if len(servers) > 1 else ""

    @classmethod
    async def start(cls, gateway: Gateway) -> "HttpServer":
        """Start serving.

        Raises:
            Unavailable: An address cannot be bound, or a protocol does not start.
            InvalidRequest: The files of the settings `tls` or `tokens` are unusable.
        """
        config, metrics = gateway.config, gateway.metrics
        servers = [ListeningServer(create_app(gateway), config.listen, config)]
        if config.health_listen:
            checks = HealthChecks(metrics=metrics)
            servers.append(ListeningServer(checks, config.health_listen, config, health=True))
        files = watch_tls_files(config.tls) if config.tls else None
        tasks = [asyncio.create_task(server.serve()) for server in servers]
        started = cls(metrics, servers, tasks)
        try:
            await asyncio.gather(*map(_ready, servers, tasks))
        except BaseException:
            await started.stop(0)
            raise
        metrics.watch_state(lambda: len(servers[0].table))
        if files:
            metrics.watch_certificate(lambda: expiry(files.value.certificate))
        if not (config.tls or is_local(config.listen)):
            log.warning("%s is served without TLS: any host on its network can read its traffic", started.address)
        metrics.serving = True
        return started

    def report_not_serving(self) -> None:
        """Fail the readiness check from now on."""
        self._metrics.serving = False

    async def stop(self, grace_s: float) -> None:
        """Accept no more connections and requests, and cancel those still in flight after `grace_s` seconds."""
        self.report_not_serving()
        main = self._servers[0]
        main.config.timeout_graceful_shutdown = max(grace_s, _LEAST_GRACE_S)  # type: ignore[assignment]  # seconds of wait_for
        main.should_exit = True
        if not grace_s:
            for request in main.server_state.tasks:
                request.cancel()
        with suppress(Unavailable):
            await self._tasks[0]
        for other in self._servers[1:]:  # probes see the drain
            other.config.timeout_graceful_shutdown = _HEALTH_GRACE_S
            other.should_exit = True
        await asyncio.gather(*self._tasks[1:], return_exceptions=True)


async def _ready(server: ListeningServer, task: asyncio.Task[None]) -> None:
    """Wait until a server accepts connections, and raise what ends it before."""
    ready = asyncio.create_task(server.ready.wait())
    await asyncio.wait((ready, task), return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    if task.done():
        task.result()
        raise Unavailable("the server ended while it started")


def _bind(listen: str) -> socket.socket:
    try:
        if is_unix_socket(listen):
            return _bind_unix(listen.removeprefix("unix:"))
        host, _, port = listen.rpartition(":")
        host = host.strip("[]")
        family = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, int(port)), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise Unavailable(f"cannot listen on {listen}: is it in use, or not an address of this machine?") from error


def _bind_unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            Path(path).unlink()
        with no_access_for_others():
            listener.bind(path)
    except OSError:
        listener.close()
        raise
    return listener

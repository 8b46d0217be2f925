"""HTTP server of the Prometheus metrics, in a thread of its own, with bounds on connections, time and work.

It answers while the service's event loop is busy, and a client that only holds connections or asks without end costs
the service little: the oldest of too many connections is closed, and requests that arrive together share one page.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from deepmath.errors import Unavailable
from deepmath.observability.standard_streams import announce

_MAX_CONNECTIONS = 32
_CONNECTION_SECONDS = 10.0  # from accept to the end of the response
_MAX_HEAD_BYTES = 8192
_PAGE_INTERVAL_SECONDS = 0.1
_PATHS = ("/metrics", "/")


class MetricsServer:
    """Serves the metrics of `registry` on `listener`, one request per connection."""

    def __init__(self, registry: CollectorRegistry, listener: socket.socket) -> None:
        self._registry = registry
        self._listener = listener
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}  # oldest first
        self._page: asyncio.Task[bytes] | None = None
        self._rendering = asyncio.Lock()

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        server = await asyncio.start_server(self._accept, sock=self._listener, limit=_MAX_HEAD_BYTES)
        async with server:
            await stop.wait()
            for connection in tuple(self._connections):
                self._close(connection)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= _MAX_CONNECTIONS:
            self._close(next(iter(self._connections)))
        connection = asyncio.create_task(self._answer(reader, writer))
        self._connections[connection] = writer
        connection.add_done_callback(lambda done: self._connections.pop(done, None))

    def _close(self, connection: asyncio.Task[None]) -> None:
        connection.cancel()
        self._connections.pop(connection).transport.abort()  # not left to the task, which may not have started

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_CONNECTION_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._response(head))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.transport.abort()

    async def _response(self, head: bytes) -> bytes:
        method, path, *_ = [*head.split(b"\r\n", 1)[0].decode("latin-1").split(" "), "", ""]
        if method not in ("GET", "HEAD"):
            return _http("405 Method Not Allowed", b"")
        if path.partition("?")[0] not in _PATHS:
            return _http("404 Not Found", b"the metrics are at /metrics\n")
        if self._page is None:
            self._page = asyncio.create_task(self._render())
        try:
            page = await asyncio.shield(self._page)
        except Exception:  # a collector failed, because the service's event loop is blocked or the service is stopping
            return _http("503 Service Unavailable", b"the metrics cannot be read now; try again later\n")
        return _http("200 OK", page if method == "GET" else b"", CONTENT_TYPE_LATEST)

    async def _render(self) -> bytes:
        async with self._rendering:
            self._page = None  # a later request gets a later page
            page = asyncio.create_task(asyncio.to_thread(generate_latest, self._registry))
            await asyncio.wait({page, asyncio.create_task(asyncio.sleep(_PAGE_INTERVAL_SECONDS))})
        return await page


def _http(status: str, body: bytes, content_type: str = "text/plain; charset=utf-8") -> bytes:
    lines = ("HTTP/1.1 " + status, f"Content-Type: {content_type}", f"Content-Length: {len(body)}", "Connection: close")
    return "\r\n".join((*lines, "", "")).encode() + body


@asynccontextmanager
async def serve_metrics(registry: CollectorRegistry, listen: str) -> AsyncIterator[int]:
    """Serve the metrics by HTTP on `listen` (HOST:PORT) for the duration of the block; an empty address serves none.

    Yields the port, 0 if there is none.

    Raises:
        Unavailable: The address cannot be bound.
    """
    if not listen:
        yield 0
        return
    host, _, port = listen.rpartition(":")
    try:
        listener = _bind(host.strip("[]"), int(port))
    except OSError as error:
        raise Unavailable(
            f"cannot serve metrics on {listen}: {error.strerror}; choose another address with --metrics-listen"
        ) from error
    bound: int = listener.getsockname()[1]
    announce(f"metrics on {host}:{bound}")
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=_run, args=(loop, registry, listener, stop), name="metrics", daemon=True)
    thread.start()
    try:
        yield bound
    finally:
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(stop.set)
        await asyncio.to_thread(thread.join)
        listener.close()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, port), family=family, backlog=_MAX_CONNECTIONS)


def _run(
    loop: asyncio.AbstractEventLoop, registry: CollectorRegistry, listener: socket.socket, stop: asyncio.Event
) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(MetricsServer(registry, listener).serve(stop))

"""HTTP connections with a limit on their number, and on the time in which a request's head arrives.

uvicorn's own protocol keeps a connection that sends nothing, or a byte now and then, without end.
"""

import asyncio
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from deepmath.access.caller_identity import name_in_certificate
from deepmath_gateway.api_keys import PEER_NAME
from deepmath_gateway.error_responses import ABORT


class ConnectionTable:
    """The open connections of one server, at most `most`.

    For a new one beyond that, the one is closed that has waited longest for its client to send a request; if none
    waits, the new one.
    """

    def __init__(self, most: int, head_s: float, idle_s: float) -> None:
        self._most = most
        self.head_s, self.idle_s = head_s, idle_s
        self._open: set[BoundedConnection] = set()
        self._waiting: dict[BoundedConnection, None] = {}  # the longest first

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: "BoundedConnection") -> None:
        """Add a connection that has just opened."""
        self._open.add(connection)
        self.wait(connection)
        if len(self._open) > self._most:
            oldest = next(iter(self._waiting))
            self.remove(oldest)
            oldest.transport.abort()

    def wait(self, connection: "BoundedConnection") -> None:
        """Note that a connection waits for its client."""
        if connection in self._open:
            self._waiting.pop(connection, None)
            self._waiting[connection] = None

    def work(self, connection: "BoundedConnection") -> None:
        """Note that a request has arrived as a whole."""
        self._waiting.pop(connection, None)

    def remove(self, connection: "BoundedConnection") -> None:
        """Remove a connection that closes."""
        self._open.discard(connection)
        self._waiting.pop(connection, None)


class BoundedConnection(H11Protocol):
    """One connection, in a table."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], table: ConnectionTable):
        super().__init__(config, server_state, app_state)
        self._table = table
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the name of the client's certificate, and wait for a request."""
        super().connection_made(transport)
        self.app_state = dict(self.app_state)
        if certificate := transport.get_extra_info("peercert"):
            self.app_state[PEER_NAME] = name_in_certificate(_names(certificate))
        self.app_state[ABORT] = transport.abort
        self._table.add(self)
        self._limit_head(self._table.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._release()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Receive, and note whether a request is complete."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete:
            self._table.work(self)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Leave the connection to the WebSocket protocol, which has its own timeouts."""
        if self._head_timer:
            self._head_timer.cancel()
        self._table.work(self)
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._table.wait(self)
        self._limit_head(self._table.idle_s + self._table.head_s)
        super().on_response_complete()

    def _limit_head(self, seconds: float) -> None:
        if self._head_timer:
            self._head_timer.cancel()
        self._head_timer = self.loop.call_later(seconds, self._close_without_request)

    def _close_without_request(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()  # not closed: that would wait for a client that does not read

    def _release(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
        self._table.remove(self)


def _names(certificate: dict[str, Any]) -> dict[str, list[bytes]]:
    """Return a certificate's names as `name_in_certificate` takes them."""
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    common = [value.encode() for name, value in subject if name == "commonName"]
    dns = [value.encode() for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    return {"x509_common_name": common, "peer_dns": dns}

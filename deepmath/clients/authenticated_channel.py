"""A channel with a client certificate and a token, both of which may be replaced while it is open.

Theory of operation. The credentials of a gRPC channel are fixed at its creation. After the certificate files have
changed, the next call opens a new channel with the new files; the old channel is closed when its last call ends. The
token is sent as metadata with each call.
"""

from __future__ import annotations  # grpc's classes are generic in their stubs only

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc

from deepmath.access.access_interceptor import AUTHORIZATION, BEARER
from deepmath.access.tls import TlsFiles
from deepmath.clients.credentials import Credentials

OpenChannel = Callable[[TlsFiles | None], grpc.aio.Channel]


class _Connection:
    """A channel with one certificate, and the number of calls on it."""

    def __init__(self, channel: grpc.aio.Channel, files: TlsFiles | None) -> None:
        self.channel, self.files = channel, files
        self.calls = 0
        self.methods: dict[tuple[str, str], Callable[..., Any]] = {}


class AuthenticatedChannel(grpc.aio.Channel):
    """Opens channels with `open_channel`, one for each version of the certificate. For use by one event loop."""

    def __init__(self, credentials: Credentials, open_channel: OpenChannel) -> None:
        self._credentials, self._open_channel = credentials, open_channel
        self._closing: set[asyncio.Task[None]] = set()
        self._outdated: set[_Connection] = set()
        self._latest = self._connect()

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._method("unary_unary", method, *arguments, **options)

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._method("unary_stream", method, *arguments, **options)

    def stream_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._method("stream_unary", method, *arguments, **options)

    def stream_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._method("stream_stream", method, *arguments, **options)

    async def close(self, grace: float | None = None) -> None:
        connections = [self._latest, *self._outdated]
        self._outdated.clear()
        await asyncio.gather(*self._closing, *(one.channel.close(grace) for one in connections))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._latest.channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._latest.channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._latest.channel.channel_ready()

    def _method(self, kind: str, method: str, *arguments: Any, **options: Any) -> Callable[..., Any]:
        def call(*request: Any, metadata: Any = None, **settings: Any) -> Any:
            connection = self._current_connection()
            if (kind, method) not in connection.methods:
                connection.methods[kind, method] = getattr(connection.channel, kind)(method, *arguments, **options)
            started = connection.methods[kind, method](*request, metadata=self._with_token(metadata), **settings)
            connection.calls += 1
            started.add_done_callback(lambda _: self._end_call(connection))
            return started

        return call

    def _with_token(self, metadata: Any) -> Any:
        token = self._credentials.token
        return (*(metadata or ()), (AUTHORIZATION, BEARER + token.value)) if token else metadata

    def _current_connection(self) -> _Connection:
        """Return a connection with the current certificate."""
        watcher = self._credentials.tls_files
        if watcher and watcher.value is not self._latest.files:
            previous, self._latest = self._latest, self._connect()
            self._outdated.add(previous)
            self._close_if_idle(previous)
        return self._latest

    def _connect(self) -> _Connection:
        files = self._credentials.tls_files.value if self._credentials.tls_files else None
        return _Connection(self._open_channel(files), files)

    def _end_call(self, connection: _Connection) -> None:
        connection.calls -= 1
        self._close_if_idle(connection)

    def _close_if_idle(self, connection: _Connection) -> None:
        if connection in self._outdated and not connection.calls:
            self._outdated.discard(connection)
            task = asyncio.get_running_loop().create_task(connection.channel.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

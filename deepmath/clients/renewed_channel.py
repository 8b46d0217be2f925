"""A channel whose certificate, token and server addresses may change while it is open.

Theory of operation. The credentials of a gRPC channel are fixed at its creation, and so are the addresses of a name
until a connection is lost. So this channel consists of several:

- One leaves names to gRPC. It carries all calls to a target without a host name, and to any target while no address is
  connected, such as those at the start.
- One for each address of a host name, which `AddressWatcher` resolves again and again. Calls go in turn to those that
  are connected.

When an address or the certificate is replaced, the channels that it made obsolete get no more calls and are closed when
their last call ends. The token is sent as metadata with each call.
"""

from __future__ import annotations  # grpc's classes are generic in their stubs only

import asyncio
import weakref
from collections.abc import Callable
from random import randrange
from types import TracebackType
from typing import Any, Self

import grpc

from deepmath.access.access_interceptor import AUTHORIZATION, BEARER
from deepmath.access.tls import TlsFiles
from deepmath.clients.credentials import Credentials
from deepmath.rpc.address_watcher import AddressWatcher

OpenChannel = Callable[[TlsFiles | None, str], grpc.aio.Channel]
"""Opens a channel to an address, or to the target itself if that is empty."""

_TARGET = ""


class _Connection:
    """A gRPC channel, and the number of calls on it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.calls = 0
        self.methods: dict[tuple[str, str], Callable[..., Any]] = {}

    def is_ready(self) -> bool:
        """Whether it is connected; otherwise start to connect."""
        return self.channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY


class RenewedChannel(grpc.aio.Channel):
    """Opens channels with `open_channel`. For use by one event loop. `watcher` is None for a target without a name."""

    def __init__(
        self, credentials: Credentials, open_channel: OpenChannel, watcher: AddressWatcher | None = None
    ) -> None:
        self._credentials, self._open_channel, self._watcher = credentials, open_channel, watcher
        self._closing: set[asyncio.Task[None]] = set()
        self._obsolete: set[_Connection] = set()
        self._files = self._current_files()
        self._addresses: tuple[str, ...] = ()
        self._turn = 0
        self._connections: dict[str, _Connection] = {}
        if watcher:
            weakref.finalize(self, watcher.close)
        self._connection_to(_TARGET)

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._method("unary_unary", method, *arguments, **options)

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._method("unary_stream", method, *arguments, **options)

    def stream_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._method("stream_unary", method, *arguments, **options)

    def stream_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._method("stream_stream", method, *arguments, **options)

    def refresh(self) -> None:
        """Resolve the name again soon, because a call found no server."""
        if self._watcher:
            self._watcher.refresh()

    async def close(self, grace: float | None = None) -> None:
        if self._watcher:
            self._watcher.close()
        connections = [*self._connections.values(), *self._obsolete]
        self._obsolete.clear()
        await asyncio.gather(*self._closing, *(one.channel.close(grace) for one in connections))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._current_connection().channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._current_connection().channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._current_connection().channel.channel_ready()

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
        """Return the next connected address, or the target if none is."""
        self._renew()
        for _ in self._addresses:
            self._turn = (self._turn + 1) % len(self._addresses)
            connection = self._connections[self._addresses[self._turn]]
            if connection.is_ready():
                self._retire(_TARGET)
                return connection
        return self._connection_to(_TARGET)

    def _renew(self) -> None:
        """Replace the connections that a changed certificate or a changed name has made obsolete."""
        files = self._current_files()
        addresses = self._watcher.addresses if self._watcher else ()
        if files is not self._files:
            gone = set(self._connections)
        elif addresses is not self._addresses:
            gone = self._connections.keys() - {_TARGET, *addresses}
        else:
            return
        self._files, self._addresses = files, addresses
        for address in gone:
            self._retire(address)
        for address in addresses:
            self._connection_to(address).is_ready()
        self._turn = randrange(len(addresses)) if addresses else 0

    def _current_files(self) -> TlsFiles | None:
        return self._credentials.tls_files.value if self._credentials.tls_files else None

    def _connection_to(self, address: str) -> _Connection:
        if address not in self._connections:
            self._connections[address] = _Connection(self._open_channel(self._files, address))
        return self._connections[address]

    def _retire(self, address: str) -> None:
        """Make no more calls on the connection to `address`."""
        if connection := self._connections.pop(address, None):
            self._obsolete.add(connection)
            self._close_if_idle(connection)

    def _end_call(self, connection: _Connection) -> None:
        connection.calls -= 1
        self._close_if_idle(connection)

    def _close_if_idle(self, connection: _Connection) -> None:
        if connection in self._obsolete and not connection.calls:
            self._obsolete.discard(connection)
            task = asyncio.get_running_loop().create_task(connection.channel.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

"""A channel that proves who calls, by a certificate and a token that may be replaced while it is open.

Theory of operation. The credentials of a gRPC channel are fixed. When the files of the certificate have changed, the
next call is made on a new channel with the new ones; the channel before it is closed when its last call is over. A
token goes with each call by itself.
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

Open = Callable[[TlsFiles | None], grpc.aio.Channel]


class _Line:
    """A channel under one certificate, and how many calls are on it."""

    def __init__(self, channel: grpc.aio.Channel, files: TlsFiles | None) -> None:
        self.channel, self.files = channel, files
        self.calls = 0
        self.methods: dict[tuple[str, str], Callable[..., Any]] = {}


class AuthenticatedChannel(grpc.aio.Channel):
    """Opens channels with `open`, one after the other. For use by one event loop."""

    def __init__(self, credentials: Credentials, open: Open) -> None:
        self._credentials, self._open = credentials, open
        self._closing: set[asyncio.Task[None]] = set()
        self._old: set[_Line] = set()
        self._line = self._new_line()

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._method("unary_unary", method, *arguments, **options)

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._method("unary_stream", method, *arguments, **options)

    def stream_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._method("stream_unary", method, *arguments, **options)

    def stream_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._method("stream_stream", method, *arguments, **options)

    async def close(self, grace: float | None = None) -> None:
        lines = [self._line, *self._old]
        self._old.clear()
        await asyncio.gather(*self._closing, *(line.channel.close(grace) for line in lines))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._line.channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._line.channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._line.channel.channel_ready()

    def _method(self, kind: str, method: str, *arguments: Any, **options: Any) -> Callable[..., Any]:
        def call(*request: Any, metadata: Any = None, **settings: Any) -> Any:
            line = self._current_line()
            if (kind, method) not in line.methods:
                line.methods[kind, method] = getattr(line.channel, kind)(method, *arguments, **options)
            made = line.methods[kind, method](*request, metadata=self._with_token(metadata), **settings)
            line.calls += 1
            made.add_done_callback(lambda _: self._ended(line))
            return made

        return call

    def _with_token(self, metadata: Any) -> Any:
        token = self._credentials.token
        return (*(metadata or ()), (AUTHORIZATION, BEARER + token.value)) if token else metadata

    def _current_line(self) -> _Line:
        """Return the channel with the certificate as it is now."""
        watched = self._credentials.tls
        if watched and watched.value is not self._line.files:
            before, self._line = self._line, self._new_line()
            self._old.add(before)
            self._close_if_over(before)
        return self._line

    def _new_line(self) -> _Line:
        files = self._credentials.tls.value if self._credentials.tls else None
        return _Line(self._open(files), files)

    def _ended(self, line: _Line) -> None:
        line.calls -= 1
        self._close_if_over(line)

    def _close_if_over(self, line: _Line) -> None:
        if line in self._old and not line.calls:
            self._old.discard(line)
            task = asyncio.get_running_loop().create_task(line.channel.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

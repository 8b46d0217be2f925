"""Base of the service clients: channel, retries and error translation."""

from __future__ import annotations  # grpc's classes are generic in their stubs only

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import grpc

from deepmath.clients.backoff import pauses
from deepmath.clients.channel import open_channel
from deepmath.clients.connection_diagnosis import ConnectionDiagnosis
from deepmath.clients.context_propagation import PropagatingChannel
from deepmath.clients.credentials import Credentials
from deepmath.errors import DeepMathError, Overloaded, TlsMismatch, Unavailable
from deepmath.rpc.address_watcher import RESOLVE_SECONDS
from deepmath.rpc.status_mapping import error_from_rpc

_MAX_STREAM_ATTEMPTS = 5  # of a call that is cancelled before its first response

Response = TypeVar("Response")


class BaseClient:
    """A channel to one or more replicas of a service. An asynchronous context manager that tasks may share.

    `tls` is a folder with tls.crt, tls.key and ca.crt, and `token_file` a file with a token; the defaults are
    DEEPMATH_TLS and DEEPMATH_TOKEN_FILE. Changed files are reloaded. A unix socket is used without TLS. `authority`
    replaces `target` as the name for which the server's certificate must be valid. A host name is resolved again every
    `resolve_s` seconds: new calls go to new replicas as soon as they are connected, and to removed ones no more, while
    calls in flight go on.

    Raises:
        InvalidRequest: `target` is not a valid address, or a file is unusable.
    """

    service = "service"

    def __init__(
        self,
        target: str,
        *,
        tls: Path | None = None,
        token_file: Path | None = None,
        authority: str = "",
        resolve_s: float = RESOLVE_SECONDS,
    ) -> None:
        self.target = target
        credentials = Credentials.load(target, tls, token_file)
        self._renewed = open_channel(target, credentials, authority, resolve_s)
        # Not a subclass of grpc.aio.Channel, but with all that stubs and callers use.
        self.channel = cast(grpc.aio.Channel, PropagatingChannel(self._renewed))
        self._diagnosis = ConnectionDiagnosis(target, credentials.tls_folder, authority)

    async def close(self) -> None:
        """Close the channel and end its calls."""
        await self.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def call_with_retry(self, call: Callable[[float], Awaitable[Response]], deadline_s: float) -> Response:
        """Return the response to `call(timeout_s)`, an idempotent call, retried until `deadline_s`.

        Raises:
            Unavailable: No response within `deadline_s`.
            DeepMathError: The server rejected the call.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        backoff = pauses()
        failure: DeepMathError | None = None
        while True:
            try:
                return await call(end - loop.time())
            except grpc.aio.AioRpcError as error:
                if failure is None or error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:  # which says less
                    failure = await self.translate(error)
            pause = next(backoff)
            if isinstance(failure, Overloaded):
                pause = max(pause, failure.retry_after_ms / 1000)
            if not isinstance(failure, Unavailable | Overloaded) or loop.time() + pause > end:
                raise failure
            await asyncio.sleep(pause)

    async def stream_with_retry(
        self, start: Callable[[], grpc.aio.UnaryStreamCall[Any, Response]]
    ) -> AsyncIterator[Response]:
        """Yield the responses of the call that `start` makes. Leaving the iterator early cancels the call.

        A call that a server cancels before the first response, because it shuts down, is made again and reaches another
        server.

        Raises:
            DeepMathError: The call failed.
        """
        backoff = pauses()
        responded = False
        for attempt in count(1):
            call = start()
            try:
                async for response in call:
                    responded = True
                    yield response
                return
            except grpc.aio.AioRpcError as error:
                retryable = error.code() is grpc.StatusCode.CANCELLED and not responded
                if not retryable or attempt == _MAX_STREAM_ATTEMPTS:
                    raise await self.translate(error) from None
            finally:
                call.cancel()
            await asyncio.sleep(next(backoff))

    async def translate(self, error: grpc.aio.AioRpcError) -> DeepMathError:
        """Return the `DeepMathError` for a failed call, with a diagnosis if no connection was established."""
        name = f"the {self.service} at {self.target}"
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            self._renewed.refresh()
        if reason := await self._diagnosis.reason_for(error):
            return TlsMismatch(f"{name} cannot be reached: {reason}")
        return error_from_rpc(error, name)

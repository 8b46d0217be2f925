"""What the clients of all services have in common: a channel, its end, and how a question is put."""

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
from deepmath.errors import DeepMathError, Overloaded, Unavailable, from_rpc

_MOST_ATTEMPTS = 5  # at a call that is cancelled before it is answered

Answer = TypeVar("Answer")


class BaseClient:
    """A channel to one or many servers of a service. An asynchronous context manager; safe to share between tasks.

    `tls` is a folder with tls.crt, tls.key and ca.crt, `token_file` a file with a token; without them DEEPMATH_TLS and
    DEEPMATH_TOKEN_FILE say which. Files that change are taken up. On a unix socket no TLS is spoken.

    Raises:
        InvalidRequest: `target` is no address, or a file cannot be used.
    """

    service = "service"

    def __init__(self, target: str, *, tls: Path | None = None, token_file: Path | None = None) -> None:
        self.target = target
        credentials = Credentials.to(target, tls, token_file)
        # What stubs and callers want of a channel it has, though no subclass.
        self.channel = cast(grpc.aio.Channel, PropagatingChannel(open_channel(target, credentials)))
        self._trouble = ConnectionDiagnosis(target, credentials.folder)

    async def close(self) -> None:
        """Close the channel; calls in flight end."""
        await self.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def ask(self, call: Callable[[float], Awaitable[Answer]], deadline_s: float) -> Answer:
        """Return the answer to `call(timeout_s)`, which changes nothing at the server and so may be tried again.

        Raises:
            Unavailable: none came within `deadline_s`.
            DeepMathError: the server refused.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        again = pauses()
        reason: DeepMathError | None = None
        while True:
            try:
                return await call(end - loop.time())
            except grpc.aio.AioRpcError as error:
                if reason is None or error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:  # that says less
                    reason = await self.explained(error)
            pause = next(again)
            if isinstance(reason, Overloaded):
                pause = max(pause, reason.retry_after_ms / 1000)
            if not isinstance(reason, Unavailable | Overloaded) or loop.time() + pause > end:
                raise reason
            await asyncio.sleep(pause)

    async def stream(self, begin: Callable[[], grpc.aio.UnaryStreamCall[Any, Answer]]) -> AsyncIterator[Answer]:
        """Yield what the call that `begin` makes answers; leaving early cancels it.

        A call that a server on its way down cancels before it answers is made again, which reaches another.

        Raises:
            DeepMathError: the call has failed.
        """
        again = pauses()
        answered = False
        for attempt in count(1):
            call = begin()
            try:
                async for answer in call:
                    answered = True
                    yield answer
                return
            except grpc.aio.AioRpcError as error:
                cancelled = error.code() is grpc.StatusCode.CANCELLED and not answered
                if not cancelled or attempt == _MOST_ATTEMPTS:
                    raise await self.explained(error) from None
            finally:
                call.cancel()
            await asyncio.sleep(next(again))

    async def explained(self, error: grpc.aio.AioRpcError) -> DeepMathError:
        """Return the error of a call as one of ours."""
        name = f"the {self.service} at {self.target}"
        if reason := await self._trouble.behind(error):
            return Unavailable(f"{name} cannot be reached: {reason}")
        return from_rpc(error, name)

"""What the clients of all services have in common: a channel, its end, and how a question is put."""

from __future__ import annotations  # grpc's classes are generic in their stubs only

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self, TypeVar

import grpc

from deepmath.clients.backoff import pauses
from deepmath.clients.channel import open_channel
from deepmath.errors import DeepMathError, Overloaded, Unavailable, from_rpc

Answer = TypeVar("Answer")


class Client:
    """A channel to one or many servers of a service. An asynchronous context manager; safe to share between tasks."""

    service = "service"

    def __init__(self, target: str) -> None:
        self.target = target
        self.channel = open_channel(target)

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
        while True:
            try:
                return await call(end - loop.time())
            except grpc.aio.AioRpcError as error:
                reason = self.explained(error)
            pause = next(again)
            if not isinstance(reason, Unavailable | Overloaded) or loop.time() + pause > end:
                raise reason
            await asyncio.sleep(pause)

    async def stream(self, begin: Callable[[], grpc.aio.UnaryStreamCall[Any, Answer]]) -> AsyncIterator[Answer]:
        """Yield what the call that `begin` makes answers; leaving early cancels it.

        Raises:
            DeepMathError: the call has failed.
        """
        call = begin()
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise self.explained(error) from None
        finally:
            call.cancel()

    def explained(self, error: grpc.aio.AioRpcError) -> DeepMathError:
        """Return the error of a call as one of ours."""
        return from_rpc(error, f"the {self.service} at {self.target}")

"""What the clients of all services have in common: a channel, and its end."""

from typing import Self

import grpc

from deepmath.clients.channel import open_channel
from deepmath.errors import DeepMathError, from_rpc


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

    def explained(self, error: grpc.aio.AioRpcError) -> DeepMathError:
        """Return the error of a call as one of ours."""
        return from_rpc(error, f"the {self.service} at {self.target}")

"""What a call carries of the task that makes it: the request id and the span, so that one request is one story."""

from __future__ import annotations  # grpc's classes are generic in their stubs only

from collections.abc import Callable
from typing import Any

import grpc

from deepmath.observability import request_id, tracing

Metadata = tuple[tuple[str, str], ...]


def outgoing() -> Metadata:
    """Return the metadata that say what this task works on; none where it works on no request and in no span."""
    told = ((request_id.KEY, request_id.current.get()), (tracing.KEY, tracing.traceparent()))
    return tuple((key, value) for key, value in told if value)


class PropagatingChannel:
    """A channel whose calls carry the context that they are made in, beside the metadata that they are given.

    No interceptor of grpc's: those put a task and queues of their own between a stream and its user.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def unary_unary(self, *arguments: Any, **options: Any) -> Callable[..., Any]:
        """Return the method as grpc's channel does; so do the three others."""
        return _carrying(self._channel.unary_unary(*arguments, **options))

    def unary_stream(self, *arguments: Any, **options: Any) -> Callable[..., Any]:
        return _carrying(self._channel.unary_stream(*arguments, **options))

    def stream_unary(self, *arguments: Any, **options: Any) -> Callable[..., Any]:
        return _carrying(self._channel.stream_unary(*arguments, **options))

    def stream_stream(self, *arguments: Any, **options: Any) -> Callable[..., Any]:
        return _carrying(self._channel.stream_stream(*arguments, **options))


def _carrying(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, metadata: Metadata | None = None, **options: Any) -> Any:
        given = tuple(metadata or ())
        keys = {key for key, _ in given}
        added = tuple(pair for pair in outgoing() if pair[0] not in keys)
        return method(*arguments, metadata=given + added, **options)

    return call

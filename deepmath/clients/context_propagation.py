"""Propagation of the current request id and span in the metadata of outgoing calls."""

from __future__ import annotations  # grpc's classes are generic in their stubs only

from collections.abc import Callable
from typing import Any

import grpc

from deepmath.observability import request_id, tracing

Metadata = tuple[tuple[str, str], ...]


def context_metadata() -> Metadata:
    """Return metadata with the request id and the span of the current context, as far as there are any."""
    pairs = ((request_id.KEY, request_id.current.get()), (tracing.KEY, tracing.traceparent()))
    return tuple((key, value) for key, value in pairs if value)


class PropagatingChannel:
    """A channel whose calls carry the caller's context beside their own metadata.

    Not a grpc.aio interceptor: those put a task and queues between a stream and its user.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def unary_unary(self, *arguments: Any, **options: Any) -> Callable[..., Any]:
        """Return the method as the channel itself does; the same holds for the three others."""
        return _propagating(self._channel.unary_unary(*arguments, **options))

    def unary_stream(self, *arguments: Any, **options: Any) -> Callable[..., Any]:
        return _propagating(self._channel.unary_stream(*arguments, **options))

    def stream_unary(self, *arguments: Any, **options: Any) -> Callable[..., Any]:
        return _propagating(self._channel.stream_unary(*arguments, **options))

    def stream_stream(self, *arguments: Any, **options: Any) -> Callable[..., Any]:
        return _propagating(self._channel.stream_stream(*arguments, **options))


def _propagating(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, metadata: Metadata | None = None, **options: Any) -> Any:
        own = tuple(metadata or ())
        keys = {key for key, _ in own}
        added = tuple(pair for pair in context_metadata() if pair[0] not in keys)
        return method(*arguments, metadata=own + added, **options)

    return call

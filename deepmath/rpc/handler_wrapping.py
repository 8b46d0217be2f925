"""Wrapping of gRPC method handlers in a context manager, for server interceptors."""

from __future__ import annotations  # grpc's classes are generic in their stubs only

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc

Surroundings = Callable[[Any], AbstractAsyncContextManager[None]]
"""Returns a context manager for one call, given its servicer context."""

_CONSTRUCTORS = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


def wrap_handler(handler: Any, surround: Surroundings) -> grpc.RpcMethodHandler[Any, Any]:
    """Return `handler` with each call of its method inside `surround(context)`.

    `handler` is a grpc.RpcMethodHandler, whose type stub lacks the attributes.
    """
    kind, construct = _CONSTRUCTORS[handler.request_streaming, handler.response_streaming]
    method = getattr(handler, kind)
    wrap = _wrap_generator if inspect.isasyncgenfunction(method) else _wrap_coroutine
    return construct(wrap(method, surround), handler.request_deserializer, handler.response_serializer)


def _wrap_coroutine(method: Callable[..., Awaitable[Any]], surround: Surroundings) -> Callable[..., Awaitable[Any]]:
    async def wrapped(request: Any, context: Any) -> Any:
        async with surround(context):
            return await method(request, context)

    return wrapped


def _wrap_generator(
    method: Callable[..., AsyncIterator[Any]], surround: Surroundings
) -> Callable[..., AsyncIterator[Any]]:
    async def wrapped(request: Any, context: Any) -> AsyncIterator[Any]:
        async with surround(context):
            async for response in method(request, context):
                yield response

    return wrapped

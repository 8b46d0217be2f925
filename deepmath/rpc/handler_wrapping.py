"""Wrapping of gRPC method handlers for server interceptors: in a context manager, and ahead of the request."""

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


def replace_deserializer(handler: Any, deserialize: Callable[[bytes], Any]) -> grpc.RpcMethodHandler[Any, Any]:
    """Return `handler` with another deserializer, whose exceptions are raised where a request is read."""
    kind, construct = _CONSTRUCTORS[handler.request_streaming, handler.response_streaming]
    return construct(getattr(handler, kind), deserialize, handler.response_serializer)


Receive = Callable[[Any], Awaitable[Any]]
"""Returns the only request of a call, given its servicer context."""


def defer_request(handler: Any, receive: Receive) -> grpc.RpcMethodHandler[Any, Any]:
    """Return `handler` as one that starts before its request has arrived, and gets it from `receive`.

    gRPC receives the request of a unary call before it starts the handler, and so before any interceptor's code around
    the handler. To gRPC the returned handler takes a stream; on the wire the two are the same. A handler that takes a
    stream is returned as it is.
    """
    if handler.request_streaming:
        streaming: grpc.RpcMethodHandler[Any, Any] = handler
        return streaming
    kind, _ = _CONSTRUCTORS[False, handler.response_streaming]
    _, construct = _CONSTRUCTORS[True, handler.response_streaming]
    method = getattr(handler, kind)
    defer = _defer_generator if inspect.isasyncgenfunction(method) else _defer_coroutine
    return construct(defer(method, receive), handler.request_deserializer, handler.response_serializer)


def _defer_coroutine(method: Callable[..., Awaitable[Any]], receive: Receive) -> Callable[..., Awaitable[Any]]:
    async def deferred(_: Any, context: Any) -> Any:
        return await method(await receive(context), context)

    return deferred


def _defer_generator(method: Callable[..., AsyncIterator[Any]], receive: Receive) -> Callable[..., AsyncIterator[Any]]:
    async def deferred(_: Any, context: Any) -> AsyncIterator[Any]:
        async for response in method(await receive(context), context):
            yield response

    return deferred


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

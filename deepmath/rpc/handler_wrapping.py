"""What interceptors do with a method of a service: put a block around each of its calls."""

from __future__ import annotations  # grpc's classes are generic in their stubs only

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

import grpc

Handler = Any  # grpc.RpcMethodHandler, whose stub lacks the methods
Block = Callable[[Any], AbstractContextManager[None]]


def with_block(handler: Handler, block: Block) -> grpc.RpcMethodHandler[Any, Any]:
    """Return `handler` with every call of its method inside `block(context)`."""
    kind = ("stream" if handler.request_streaming else "unary") + (
        "_stream" if handler.response_streaming else "_unary"
    )
    method = getattr(handler, kind)
    wrap = _around_generator if inspect.isasyncgenfunction(method) else _around_coroutine
    wrapped: grpc.RpcMethodHandler[Any, Any] = handler._replace(**{kind: wrap(method, block)})
    return wrapped


def _around_coroutine(method: Callable[..., Awaitable[Any]], block: Block) -> Callable[..., Awaitable[Any]]:
    async def called(request: Any, context: Any) -> Any:
        with block(context):
            return await method(request, context)

    return called


def _around_generator(method: Callable[..., AsyncIterator[Any]], block: Block) -> Callable[..., AsyncIterator[Any]]:
    async def called(request: Any, context: Any) -> AsyncIterator[Any]:
        with block(context):
            async for response in method(request, context):
                yield response

    return called

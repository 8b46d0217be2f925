"""Server interceptor that turns exceptions into gRPC statuses."""

from __future__ import annotations  # grpc's classes are generic in their stubs only

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from deepmath.errors import DeepMathError, Overloaded
from deepmath.observability import request_id
from deepmath.rpc.handler_wrapping import wrap_handler
from deepmath.rpc.status_mapping import RETRY_PUSHBACK, status_of

log = logging.getLogger(__name__)


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Ends a call with the status of the `DeepMathError` that its handler raises, or INTERNAL for any other error."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler of a call."""
        handler = await continuation(handler_call_details)
        return None if handler is None else wrap_handler(handler, _aborting)


@asynccontextmanager
async def _aborting(context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
    try:
        yield
    except grpc.aio.AbortError:
        raise
    except DeepMathError as error:
        metadata = tuple(context.trailing_metadata())
        if isinstance(error, Overloaded):
            metadata += ((RETRY_PUSHBACK, str(error.retry_after_ms)),)
        await context.abort(status_of(error), str(error), metadata)
    except Exception:
        log.exception("unhandled exception in RPC handler")
        message = f"internal error; the service's log has the traceback under request id {request_id.current.get()}"
        await context.abort(grpc.StatusCode.INTERNAL, message)

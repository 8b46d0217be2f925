"""Mapping between the errors of `deepmath.errors` and gRPC statuses, for servers and clients."""

import grpc

from deepmath.errors import (
    DeepMathError,
    Forbidden,
    InvalidRequest,
    NotServed,
    Overloaded,
    ReplayDiverged,
    Unauthenticated,
    Unavailable,
    WrongOrder,
)
from deepmath.rpc.grpc_patches.error_texts import is_lost_response, is_reset_stream

RETRY_PUSHBACK = "grpc-retry-pushback-ms"
"""Trailing metadata key of gRFC A6: the delay before a retry in milliseconds. gRPC's own retries honour it."""

_STATUSES: dict[type[DeepMathError], grpc.StatusCode] = {
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    WrongOrder: grpc.StatusCode.FAILED_PRECONDITION,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    ReplayDiverged: grpc.StatusCode.ABORTED,
    NotServed: grpc.StatusCode.UNIMPLEMENTED,
}
# Only clients raise ReplayDiverged; an ABORTED call is not one.
_ERRORS = {status: error for error, status in _STATUSES.items() if error is not ReplayDiverged}
# A server that shuts down cancels calls that arrive at that moment and calls that outlive its drain period. A call
# cancelled by its own side does not get here: it ends with asyncio.CancelledError.
_UNREACHABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
_DENIED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


def status_of(error: DeepMathError) -> grpc.StatusCode:
    """Return the gRPC status of `error`, INTERNAL for an error of no particular class."""
    return next((_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES), grpc.StatusCode.INTERNAL)


def error_from_rpc(error: grpc.aio.AioRpcError, target: str) -> DeepMathError:
    """Return the `DeepMathError` for a failed call to `target`."""
    code, details = error.code(), error.details() or error.code().name
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        pushback = str(dict(error.trailing_metadata() or ()).get(RETRY_PUSHBACK, ""))
        # Without a pushback it is a message over the server's size limit, not load: a retry would fail again. So it is
        # with a pushback that is negative or not a number (gRFC A6).
        return Overloaded(details, int(pushback)) if pushback.isdecimal() else InvalidRequest(details)
    if code in _UNREACHABLE:
        return Unavailable(f"{target} cannot be reached or is shutting down: {details}")
    if is_reset_stream(error):
        return Unavailable(f"the connection to {target} was lost: {details}")
    if is_lost_response(error):
        return Unavailable(f"the response of {target} was lost: {details}")
    if code in _DENIED:
        return _ERRORS[code](f"{target} rejected the call: {details}")
    return _ERRORS.get(code, DeepMathError)(details)

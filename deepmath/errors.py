"""Every error that reaches a user, each with the gRPC status that it travels as.

A message says what is wrong and what to do about it. Anything that is not one of these is a defect: the server logs it
with its traceback and answers INTERNAL without it.
"""

import grpc


class DeepMathError(Exception):
    """Base of all errors raised on purpose. `str(error)` is written for the person who has to act on it."""

    status = grpc.StatusCode.INTERNAL


class InvalidRequest(DeepMathError):
    """The request is malformed or asks for more than the limits allow."""

    status = grpc.StatusCode.INVALID_ARGUMENT


class WrongOrder(DeepMathError):
    """The request is well formed but does not fit what came before it."""

    status = grpc.StatusCode.FAILED_PRECONDITION


class Overloaded(DeepMathError):
    """No room now. Come again after `retry_after_ms`."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, message: str, retry_after_ms: int = 1000) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class Unavailable(DeepMathError):
    """A service cannot be reached, is draining, or has lost what it needs to work."""

    status = grpc.StatusCode.UNAVAILABLE


class Unauthenticated(DeepMathError):
    """The service wants to know who calls, and was not told or does not know them."""

    status = grpc.StatusCode.UNAUTHENTICATED


class Forbidden(DeepMathError):
    """The service knows who calls, and does not let them."""

    status = grpc.StatusCode.PERMISSION_DENIED


class ReplayDiverged(DeepMathError):
    """A session's snippets, run again elsewhere, did not call what they had called before. It cannot go on."""

    status = grpc.StatusCode.ABORTED


class NotServed(DeepMathError):
    """The call is in the contract but this version does not serve it."""

    status = grpc.StatusCode.UNIMPLEMENTED


# grpc's own name for "come again after so many milliseconds" (gRFC A6); grpc clients honour it in their retries.
PUSHBACK = "grpc-retry-pushback-ms"

# grpc.aio's words where a server answers an upload before its end and, which is rare, the answer is lost on the way.
_LOST = "Internal error from Core"

_BY_STATUS: dict[grpc.StatusCode, type[DeepMathError]] = {
    error.status: error for error in (InvalidRequest, WrongOrder, Unavailable, Unauthenticated, Forbidden, NotServed)
}


def from_rpc(error: grpc.aio.AioRpcError, target: str) -> DeepMathError:
    """Return the error that the call to `target` failed with as one of ours."""
    details = error.details() or error.code().name
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        pushback = str(dict(error.trailing_metadata() or ()).get(PUSHBACK, ""))
        # Without a pushback it is not load but a message over the server's size limit: the same again fails again.
        # A pushback that is no number, or negative, means the same (gRFC A6).
        return Overloaded(details, int(pushback)) if pushback.isdecimal() else InvalidRequest(details)
    # A server that is going down cancels what reaches it in that moment, and what outlives its time to drain. A call
    # that its own side cancels does not come here: it ends with asyncio.CancelledError.
    going = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
    if error.code() in going:
        return Unavailable(f"{target} cannot be reached or is going down: {details}")
    if error.code() is grpc.StatusCode.INTERNAL and details == _LOST:
        return Unavailable(f"the answer of {target} was lost: {details}")
    if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return _BY_STATUS[error.code()](f"{target} refuses the call: {details}")
    return _BY_STATUS.get(error.code(), DeepMathError)(details)

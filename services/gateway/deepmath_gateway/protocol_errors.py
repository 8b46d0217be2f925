"""Errors as HTTP responses, in the form of the protocol that the client speaks."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from starlette.responses import JSONResponse, Response

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

_STATUSES: dict[type[DeepMathError], HTTPStatus] = {
    InvalidRequest: HTTPStatus.BAD_REQUEST,
    WrongOrder: HTTPStatus.CONFLICT,
    ReplayDiverged: HTTPStatus.CONFLICT,
    Overloaded: HTTPStatus.TOO_MANY_REQUESTS,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotServed: HTTPStatus.NOT_IMPLEMENTED,
}
_UNAVAILABLE_RETRY_S = 1


class HttpRefusal(DeepMathError):
    """The request is refused with an HTTP status that no other error has, such as 404 or 413."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class ClientGone(DeepMathError):
    """The client has disconnected: nobody reads a response."""


@dataclass(frozen=True)
class HttpFailure:
    """An error on its way to a client."""

    status: HTTPStatus
    message: str
    error: DeepMathError | None = None
    """None for an unhandled exception."""

    @classmethod
    def of(cls, error: DeepMathError) -> "HttpFailure":
        """Return the failure for an error of ours."""
        return cls(status_of(error), str(error), error)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the response."""
        if isinstance(self.error, Overloaded):
            return {"retry-after": str(math.ceil(self.error.retry_after_ms / 1000))}
        if isinstance(self.error, Unavailable):
            return {"retry-after": str(_UNAVAILABLE_RETRY_S)}
        return {"www-authenticate": "Bearer"} if self.status is HTTPStatus.UNAUTHORIZED else {}


ErrorForm = Callable[[HttpFailure], Response]
"""Returns a protocol's response for a failure. `HttpFailure.headers` are added to it."""


def status_of(error: DeepMathError) -> HTTPStatus:
    """Return the HTTP status of `error`, 500 for an error of no particular class."""
    if isinstance(error, HttpRefusal):
        return error.status
    kinds = (kind for kind in type(error).__mro__ if kind in _STATUSES)
    return next((_STATUSES[kind] for kind in kinds), HTTPStatus.INTERNAL_SERVER_ERROR)


def detail_form(failure: HttpFailure) -> Response:
    """Return a response with FastAPI's own error body, for paths of no protocol."""
    return JSONResponse({"detail": failure.message}, failure.status)

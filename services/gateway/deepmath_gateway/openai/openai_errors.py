"""Errors in the form of OpenAI's API."""

from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse, Response

from deepmath.errors import DeepMathError
from deepmath_gateway.openai.served_models import UnknownModel
from deepmath_gateway.protocol_errors import HttpFailure

_TYPES = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "service_unavailable_error",
}
_CODES = {
    HTTPStatus.UNAUTHORIZED: "invalid_api_key",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_exceeded",
    HTTPStatus.SERVICE_UNAVAILABLE: "service_unavailable",
}


def error_form(failure: HttpFailure) -> Response:
    """Return the response for a failure. Clients wait for its `retry-after` and try again."""
    return JSONResponse({"error": error_fields(failure)}, failure.status)


def error_fields(failure: HttpFailure) -> dict[str, Any]:
    """Return the error of a response, or of an event in a stream."""
    status = failure.status
    kind = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    code = "model_not_found" if isinstance(failure.error, UnknownModel) else _CODES.get(status)
    parameter, separator, _ = failure.message.partition(":")
    is_field = separator and status is HTTPStatus.BAD_REQUEST and parameter.replace(".", "").replace("_", "").isalnum()
    return {
        "message": failure.message,
        "type": _TYPES.get(status, kind),
        "param": "model" if isinstance(failure.error, UnknownModel) else parameter if is_field else None,
        "code": code,
    }


def stream_failure(error: DeepMathError) -> dict[str, Any]:
    """Return the error for an event of a stream that has begun."""
    return error_fields(HttpFailure.of(error))

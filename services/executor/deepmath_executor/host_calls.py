"""Host calls: offers of client functions, checks of a snippet's calls, and conversion of the client's results.

A call is a frame from a sandbox and therefore hostile. `call_parser` checks its form. `refusal` decides whether it
reaches the client: the function must be offered, the snippet must have calls left, and the arguments must be of
permitted length. A refused call raises an error in the snippet. Whether the arguments are valid JSON is for the client
to find out, which parses them anyway: hostile JSON takes 40 ms to parse, in which this service would serve nobody.
"""

import keyword
from collections.abc import Awaitable, Callable, Sequence

from deepmath.errors import InvalidRequest
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.rpc import wire_values
from deepmath.sandbox import frames
from deepmath.sandbox.bounded_text import cut
from deepmath.sandbox.supervisor.call_parser import HostCall
from deepmath.sandbox.supervisor.snippet import HostFunctionOffer, Snippet
from deepmath_executor.config import ExecutorConfig

_MAX_FUNCTIONS = 128
_MAX_PARAMETERS = 64
_MAX_NAMES = 2048  # functions and parameters together: 1 ms to check
_NAME_CHARACTERS = 64
_TYPE_BYTES = 256
_MESSAGE_BYTES = 16 << 10

CallHandler = Callable[[HostCall, Snippet], Awaitable[pb.HostResult]]
"""Forwards a snippet's call to its client and returns the client's result."""


def resolve_offer(requested: pb.HostFunctions, config: ExecutorConfig) -> HostFunctionOffer | None:
    """Return the offer for a request, with zeros replaced by defaults; None if it offers no function.

    Raises:
        InvalidRequest: A name is invalid or duplicate, there are too many names, or a limit is out of bounds.
    """
    if not requested.functions:
        return None
    call_ms = _resolve("call_ms", requested.call_ms, config.host_call_ms, config.maximum_host_call_ms)
    calls = _resolve("calls", requested.calls, config.host_calls, config.maximum_host_calls)
    _check_count("host.functions", len(requested.functions), _MAX_FUNCTIONS)
    for function in requested.functions:
        _check_count("a parameter list in host.functions", len(function.parameters), _MAX_PARAMETERS)
    _check_count(
        "host.functions with its parameters", sum(len(f.parameters) + 1 for f in requested.functions), _MAX_NAMES
    )
    _check_names("host.functions", [function.name for function in requested.functions])
    for function in requested.functions:
        _check_names(f"the parameter list of host function {function.name}", function.parameters)
    return HostFunctionOffer({function.name: function for function in requested.functions}, call_ms, calls)


def _resolve(field: str, value: int, default: int, maximum: int) -> int:
    if not 0 <= value <= maximum:
        raise InvalidRequest(f"host.{field} is {value}: give 1 to {maximum}, or 0 for the default")
    return value or default


def _check_count(where: str, names: int, maximum: int) -> None:
    if names > maximum:
        raise InvalidRequest(f"{where} has {names} names: give at most {maximum}")


def _check_names(where: str, names: Sequence[str]) -> None:
    for name in names:
        if not _is_valid(name):
            raise InvalidRequest(
                f"{where} contains the invalid name {name[:_NAME_CHARACTERS]!r}: give an ASCII identifier of at most "
                f"{_NAME_CHARACTERS} characters that does not start with two underscores and is not a keyword"
            )
    if len(set(names)) != len(names):
        raise InvalidRequest(f"{where} contains a name twice")


def _is_valid(name: str) -> bool:
    is_identifier = len(name) <= _NAME_CHARACTERS and name.isascii() and name.isidentifier()
    return is_identifier and not name.startswith("__") and not keyword.iskeyword(name)


def refusal(call: HostCall, offer: HostFunctionOffer) -> frames.Fields | None:
    """Return the error reply to a call that must not reach the client; None if it may."""
    if call.number > offer.calls:
        return _error("RuntimeError", f"this snippet has made all of its {offer.calls} calls")
    if call.function not in offer.functions:
        return _error("NameError", "this function is not offered to this snippet")
    if len(call.arguments) > wire_values.ARGUMENT_BYTES or not call.arguments.isascii():
        reason = f"they take over {wire_values.ARGUMENT_BYTES} bytes, or are not ASCII"
        return _error("ValueError", f"the arguments of {call.function}() cannot be sent out of the sandbox: {reason}")
    return None


def to_reply(result: pb.HostResult) -> frames.Fields:
    """Return the client's result in the form that the sandbox reads."""
    if result.WhichOneof("outcome") == "value":
        return {"value": result.value}
    return _error(cut(result.error.type, _TYPE_BYTES)[0], cut(result.error.message, _MESSAGE_BYTES)[0])


def check_result(result: pb.HostResult) -> None:
    """Check that a client's result can be forwarded.

    Raises:
        InvalidRequest: The result is empty or too long.
    """
    if result.WhichOneof("outcome") is None:
        raise InvalidRequest("host_result has neither a value nor an error")
    if len(result.value) > wire_values.RESULT_BYTES:
        raise InvalidRequest(f"host_result.value is over {wire_values.RESULT_BYTES} bytes")


def _error(kind: str, message: str) -> frames.Fields:
    return {"error": kind, "message": message}

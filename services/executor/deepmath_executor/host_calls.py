"""Calls of a snippet into its client: what was offered, what is let through, and what comes back.

A call is a frame from a sandbox, and hostile. Of its shape is believed what `to_call` has checked; whether it goes to
the client is for `refusal` to say: its function was offered, the snippet has calls left, and its arguments are a JSON
object within the limits of `deepmath/rpc/wire_values.py`. What is refused is told to the snippet, as an error of the function.
"""

import keyword
from collections.abc import Awaitable, Callable, Iterable

from deepmath.errors import InvalidRequest
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.rpc import wire_values
from deepmath.sandbox.bounded_text import cut
from deepmath.sandbox.supervisor.call_parser import HostCall
from deepmath.sandbox.supervisor.snippet import HostFunctionOffer, Snippet
from deepmath_executor.config import ExecutorConfig

_MOST_FUNCTIONS = 128
_MOST_PARAMETERS = 64
_NAME_CHARACTERS = 64
_TYPE_BYTES = 256
_MESSAGE_BYTES = 16 << 10


Ask = Callable[[HostCall, Snippet], Awaitable[pb.HostResult]]
"""Asks the client to answer a call."""


def resolve_offer(asked: pb.HostFunctions, config: ExecutorConfig) -> HostFunctionOffer | None:
    """Return what `asked` means; None where it offers no function. Zeros mean the defaults.

    Raises:
        InvalidRequest: a name is none or is there twice, there are too many, or a limit is out of bounds.
    """
    if not asked.functions:
        return None
    call_ms = _within("call_ms", asked.call_ms, config.host_call_ms, config.maximum_host_call_ms)
    calls = _within("calls", asked.calls, config.host_calls, config.maximum_host_calls)
    _check_names("host.functions", (function.name for function in asked.functions), _MOST_FUNCTIONS)
    for function in asked.functions:
        _check_names(f"the parameters of host function {function.name}", function.parameters, _MOST_PARAMETERS)
    return HostFunctionOffer({function.name: function for function in asked.functions}, call_ms, calls)


def _within(name: str, value: int, default: int, highest: int) -> int:
    if not 0 <= value <= highest:
        raise InvalidRequest(f"host.{name} is {value}: give 1 to {highest}, or 0 for the default")
    return value or default


def _check_names(of: str, names: Iterable[str], most: int) -> None:
    names = list(names)
    if len(names) > most:
        raise InvalidRequest(f"{of} has {len(names)} names: give at most {most}")
    for name in names:
        if not _is_name(name):
            raise InvalidRequest(
                f"{of} has {name[:_NAME_CHARACTERS]!r}: give an ASCII identifier of at most {_NAME_CHARACTERS} "
                "characters that begins with no two underscores and is no keyword"
            )
    if len(set(names)) != len(names):
        raise InvalidRequest(f"{of} has a name twice")


def _is_name(name: str) -> bool:
    short = len(name) <= _NAME_CHARACTERS and name.isascii() and name.isidentifier()
    return short and not name.startswith("__") and not keyword.iskeyword(name)


def refusal(call: HostCall, offer: HostFunctionOffer) -> dict[str, object] | None:
    """Return the reply to a call that the client shall not be asked for; None where it shall."""
    if call.number > offer.calls:
        return _error("RuntimeError", f"this snippet may make {offer.calls} calls, and has made them")
    if call.function not in offer.functions:
        return _error("NameError", "this function was not offered to this snippet")
    try:
        arguments = wire_values.parse(call.arguments, wire_values.ARGUMENT_BYTES)
        if not isinstance(arguments, dict):
            raise ValueError("no object")
    except ValueError as error:
        return _error("ValueError", f"the arguments of {call.function}() cannot be sent out of the sandbox: {error}")
    return None


def to_reply(result: pb.HostResult) -> dict[str, object]:
    """Return what the sandbox is told of the client's answer."""
    if result.WhichOneof("outcome") == "value":
        return {"value": result.value}
    return _error(cut(result.error.type, _TYPE_BYTES)[0], cut(result.error.message, _MESSAGE_BYTES)[0])


def check_result(result: pb.HostResult) -> None:
    """See whether a client's answer can be handed on.

    Raises:
        InvalidRequest: it is empty, or too long.
    """
    if result.WhichOneof("outcome") is None:
        raise InvalidRequest("host_result has neither a value nor an error")
    if len(result.value) > wire_values.RESULT_BYTES:
        raise InvalidRequest(f"host_result.value has over {wire_values.RESULT_BYTES} bytes")


def _error(kind: str, message: str) -> dict[str, object]:
    return {"error": {"type": kind, "message": message}}

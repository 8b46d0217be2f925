"""Parser of host calls from a sandbox, which are hostile input."""

from dataclasses import dataclass

from deepmath.rpc import wire_values
from deepmath.sandbox.frames import MalformedFrame

_ENVELOPE_BYTES = 4 << 10


@dataclass(frozen=True, slots=True)
class HostCall:
    """A snippet's call of one of the client's functions. `arguments` is unchecked JSON."""

    number: int
    function: str
    arguments: str


def longest_call() -> int:
    """Return the size limit of a call's frame: its arguments are JSON within JSON, whose quotes are escaped twice."""
    return _ENVELOPE_BYTES + 2 * wire_values.ARGUMENT_BYTES


def to_call(message: dict[str, object], sequence: int, number: int) -> HostCall:
    """Return the call in `message`.

    Raises:
        MalformedFrame: It is not call `number` of snippet `sequence`.
    """
    for key, expected in (("sequence", sequence), ("call", number)):
        found = message.get(key)
        if type(found) is not int or found != expected:
            raise MalformedFrame(f"{key} of a call")
    function, arguments = message.get("function"), message.get("arguments")
    if not isinstance(function, str) or not isinstance(arguments, str):
        raise MalformedFrame("function or arguments of a call")
    return HostCall(number, function, arguments)

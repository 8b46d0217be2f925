"""Parser of host calls from a sandbox, which are hostile input."""

from dataclasses import dataclass

from deepmath.rpc import wire_values
from deepmath.sandbox.frames import MalformedFrame, Message
from deepmath.sandbox.supervisor.result_parser import number_in, text_in

_ENVELOPE_BYTES = 1 << 10


@dataclass(frozen=True, slots=True)
class HostCall:
    """A snippet's call of one of the client's functions. `arguments` is unchecked JSON."""

    number: int
    function: str
    arguments: str


def longest_call() -> int:
    """Return the size limit of a call's frame."""
    return _ENVELOPE_BYTES + wire_values.ARGUMENT_BYTES


def to_call(message: Message, sequence: int, number: int) -> HostCall:
    """Return the call in `message`.

    Raises:
        MalformedFrame: It is not call `number` of snippet `sequence`.
    """
    if (number_in(message, "sequence"), number_in(message, "call")) != (sequence, number):
        raise MalformedFrame("a call of another snippet, or out of order")
    return HostCall(number, text_in(message, "function"), text_in(message, "arguments"))

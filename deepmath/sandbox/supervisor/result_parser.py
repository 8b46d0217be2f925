"""Parser of results from a sandbox, which are hostile input: every part is checked."""

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.bounded_text import cut
from deepmath.sandbox.frames import MalformedFrame, Message

_OUTCOMES = {
    "OK": pb.OUTCOME_OK,
    "EXCEPTION": pb.OUTCOME_EXCEPTION,
    "OUT_OF_MEMORY": pb.OUTCOME_OUT_OF_MEMORY,
    "POLICY_VIOLATION": pb.OUTCOME_POLICY_VIOLATION,
}
_TYPE_BYTES = 256
_TRACEBACK_BYTES = 16 << 10
_ENVELOPE_BYTES = 1 << 10
_MOST_DIGITS = 20  # of a uint64


def longest_frame(output_bytes: int) -> int:
    """Return the size limit of a result's frame: a value or a message of `output_bytes`, and the parts around it."""
    return _ENVELOPE_BYTES + _TYPE_BYTES + _TRACEBACK_BYTES + output_bytes


def to_result(
    message: Message, sequence: int, output_bytes: int, interrupted_by: pb.Outcome.ValueType | None = None
) -> pb.SnippetResult:
    """Return outcome, value and exception in `message`.

    `interrupted_by` is the outcome of the time limit that interrupted the snippet, if any.

    Raises:
        MalformedFrame: The message is not a result of snippet `sequence`.
    """
    claimed = text_in(message, "outcome")
    outcome = interrupted_by if claimed == "INTERRUPTED" else _OUTCOMES.get(claimed)
    if outcome is None or number_in(message, "sequence") != sequence:
        raise MalformedFrame("not a result of this snippet")
    result = pb.SnippetResult(sequence=sequence, outcome=outcome)
    if "value" in message:
        if (dropped := number_in(message, "dropped")) >= 1 << 62:
            raise MalformedFrame("dropped")
        result.value, more = cut(text_in(message, "value"), output_bytes)
        result.dropped_bytes.value = dropped + more
    if "exception" in message:
        result.exception.type, _ = cut(text_in(message, "exception"), _TYPE_BYTES)
        result.exception.message, _ = cut(text_in(message, "message"), output_bytes)
        result.exception.traceback, _ = cut(text_in(message, "traceback"), _TRACEBACK_BYTES)
    return result


def number_in(message: Message, name: str) -> int:
    """Return the decimal number of at most 20 digits in a field.

    Raises:
        MalformedFrame: There is none.
    """
    digits = _field(message, name)
    if not digits.isdigit() or len(digits) > _MOST_DIGITS:
        raise MalformedFrame(name)
    return int(digits)


def text_in(message: Message, name: str) -> str:
    """Return the text in a field.

    Raises:
        MalformedFrame: There is none, or it is not UTF-8.
    """
    try:
        return _field(message, name).decode()
    except UnicodeDecodeError:
        raise MalformedFrame(name) from None


def _field(message: Message, name: str) -> bytes:
    try:
        return message[name]
    except KeyError:
        raise MalformedFrame(name) from None

"""Parser of results from a sandbox, which are hostile input: every part is checked."""

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.bounded_text import cut
from deepmath.sandbox.frames import MalformedFrame

_OUTCOMES = {
    "OK": pb.OUTCOME_OK,
    "EXCEPTION": pb.OUTCOME_EXCEPTION,
    "OUT_OF_MEMORY": pb.OUTCOME_OUT_OF_MEMORY,
    "POLICY_VIOLATION": pb.OUTCOME_POLICY_VIOLATION,
}
_TYPE_BYTES = 256
_TRACEBACK_BYTES = 16 << 10
_ENVELOPE_BYTES = 64 << 10
_TEXTS = 3  # value, or message and traceback
_JSON_ESCAPE_BYTES = 6  # the most JSON bytes per byte of text


def longest_frame(output_bytes: int) -> int:
    """Return the size limit of a result's frame whose texts have up to `output_bytes` bytes each."""
    return _ENVELOPE_BYTES + _TEXTS * _JSON_ESCAPE_BYTES * output_bytes


def to_result(
    message: dict[str, object], sequence: int, output_bytes: int, interrupted_by: pb.Outcome.ValueType | None = None
) -> pb.SnippetResult:
    """Return outcome, value and exception in `message`.

    `interrupted_by` is the outcome of the time limit that interrupted the snippet, if any.

    Raises:
        MalformedFrame: The message is not a result of snippet `sequence`.
    """
    claimed = _text(message, "outcome")
    outcome = interrupted_by if claimed == "INTERRUPTED" else _OUTCOMES.get(claimed)
    claimed_sequence = message.get("sequence")
    if outcome is None or type(claimed_sequence) is not int or claimed_sequence != sequence:
        raise MalformedFrame("not a result of this snippet")
    result = pb.SnippetResult(sequence=sequence, outcome=outcome)
    if "value" in message:
        dropped = message.get("dropped")
        if type(dropped) is not int or not 0 <= dropped < 1 << 62:
            raise MalformedFrame("dropped")
        result.value, more = cut(_text(message, "value"), output_bytes)
        result.dropped_bytes.value = dropped + more
    if "exception" in message:
        exception = message["exception"]
        if not isinstance(exception, dict):
            raise MalformedFrame("exception")
        result.exception.type, _ = cut(_text(exception, "type"), _TYPE_BYTES)
        result.exception.message, _ = cut(_text(exception, "message"), output_bytes)
        result.exception.traceback, _ = cut(_text(exception, "traceback"), _TRACEBACK_BYTES)
    return result


def _text(message: dict[str, object], key: str) -> str:
    value = message.get(key)
    if not isinstance(value, str):
        raise MalformedFrame(key)
    return value

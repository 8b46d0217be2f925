"""Parser of results from a sandbox, which are hostile input: every part is checked."""

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.bounded_text import cut
from deepmath.sandbox.frames import MalformedFrame, Message
from deepmath.sandbox.png_image import MOST_FIGURES, is_png

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
_MOST_INT32 = (1 << 31) - 1


def longest_frame(output_bytes: int, figure_bytes: int = 0) -> int:
    """Return the size limit of a result's frame: a value or message of `output_bytes`, figures, and their envelope."""
    return _ENVELOPE_BYTES + _TYPE_BYTES + _TRACEBACK_BYTES + output_bytes + figure_bytes


def to_result(
    message: Message,
    sequence: int,
    output_bytes: int,
    interrupted_by: pb.Outcome.ValueType | None = None,
    figure_bytes: int = 0,
) -> pb.SnippetResult:
    """Return outcome, value, exception and figures in `message`.

    `interrupted_by` is the outcome of the time limit that interrupted the snippet, if any. `figure_bytes` is the limit
    of all figures together; 0 where snippets have none.

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
    if figure_bytes:
        _add_figures(result, message, figure_bytes)
    return result


def _add_figures(result: pb.SnippetResult, message: Message, figure_bytes: int) -> None:
    names = [name for number in range(MOST_FIGURES) if (name := f"figure{number}") in message]
    if sum(len(message[name]) for name in names) > figure_bytes or not all(is_png(message[name]) for name in names):
        raise MalformedFrame("a figure that is not a PNG image, or too large")
    result.rich_outputs.extend(pb.RichOutput(mime_type="image/png", data=message[name]) for name in names)
    if "dropped_figures" in message:
        result.dropped_rich_outputs = min(number_in(message, "dropped_figures"), _MOST_INT32)


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

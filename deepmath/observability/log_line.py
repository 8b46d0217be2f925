"""A line of the log as a JSON object, the same for every process, library and log."""

import json
from datetime import UTC, datetime
from typing import Any, NoReturn

from deepmath.printable_text import json_line, printable


def timestamp(seconds: float) -> str:
    """Return the time of a line, in ISO 8601 with milliseconds and UTC's offset. `seconds` counts from the epoch."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def encode_log_line(level: str, seconds: float, service: str, logger: str, message: str, **more: str) -> bytes:
    """Return the line, its line feed included. Empty fields are left out."""
    fields = {"level": level, "time": timestamp(seconds), "service": service, "logger": logger, "message": message}
    line = json_line({name: value for name, value in (fields | more).items() if value})
    return line.encode(errors="backslashreplace") + b"\n"


def is_log_line(line: bytes) -> bool:
    """Whether `line` is a JSON object with a time and no control characters, such as our logging writes."""
    if _parse(line) is None:
        return False
    text = line.decode()
    return printable(text) == text


def message_of(line: bytes) -> str:
    """Return the message of a line, with the last line of its traceback; a line of text is its own message."""
    fields = _parse(line)
    if fields is None:
        return line.decode(errors="replace").strip()
    traceback = str(fields.get("exception", "")).strip().splitlines()
    return ": ".join(filter(None, (str(fields.get("message", "")), *traceback[-1:])))


def _parse(line: bytes) -> dict[str, Any] | None:
    if not line.startswith(b"{"):
        return None
    try:
        parsed = json.loads(line.decode(), parse_constant=_reject)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) and isinstance(parsed.get("time"), str) else None


def _reject(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")

"""Frames between the supervisor and a sandbox: JSON after its length in four bytes, over a stream socket."""

import json
import struct
from json.decoder import scanstring  # type: ignore[attr-defined]  # not in the stubs
from typing import Any

_LENGTH = struct.Struct("!I")
HEADER_BYTES = _LENGTH.size
# A result has ten strings at most, possibly long, with little between them. A frame of the same length with millions of
# empty lists would take seconds to parse, and a hundred times its size in memory.
_MOST_STRINGS = 16
_MOST_BETWEEN_STRINGS = 64


class MalformedFrame(Exception):
    """The peer sent something that is not a valid frame."""


def encode(message: dict[str, Any]) -> bytes:
    """Return `message` as one frame."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Cuts a byte stream from an untrusted peer into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes, limit: int) -> dict[str, Any] | None:
        """Add bytes; return the message that they complete, or None.

        Raises:
            MalformedFrame: The frame is over `limit` bytes, is not a JSON object or has too many parts, or more bytes
                follow it.
        """
        self._buffer += data
        if len(self._buffer) < HEADER_BYTES:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > limit or len(self._buffer) > HEADER_BYTES + length:
            raise MalformedFrame(f"a frame of {length} bytes (limit {limit}), or more than one frame")
        if len(self._buffer) < HEADER_BYTES + length:
            return None
        body = bytes(self._buffer[HEADER_BYTES:])
        self._buffer.clear()
        _check_parts(body)
        return parse(body)


def _check_parts(body: bytes) -> None:
    try:
        text = body.decode()  # json would accept UTF-16 too, in which this scan finds no quotes
    except UnicodeDecodeError as error:
        raise MalformedFrame("not UTF-8") from error
    end = 0
    for _ in range(_MOST_STRINGS + 1):
        start = text.find('"', end)
        if (len(text) if start < 0 else start) - end > _MOST_BETWEEN_STRINGS:
            break
        if start < 0:
            return
        try:
            _, end = scanstring(text, start + 1)
        except ValueError as error:
            raise MalformedFrame("not JSON") from error
    raise MalformedFrame("too many parts")


def parse(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`.

    Raises:
        MalformedFrame: It is not a JSON object.
    """
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedFrame("not JSON") from error
    if not isinstance(message, dict):
        raise MalformedFrame("not a JSON object")
    return message


def length(header: bytes) -> int:
    """Return the length of the body after `header`, in bytes."""
    (size,) = _LENGTH.unpack(header)
    return int(size)

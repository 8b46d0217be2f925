"""Messages between the supervisor and a sandbox: JSON behind its length in four bytes, over a stream socket."""

import json
import re
import struct
from typing import Any

_LENGTH = struct.Struct("!I")
HEADER_BYTES = _LENGTH.size
# An answer is ten strings at most, long ones perhaps, with little between them. Millions of empty lists in a frame of
# the same length would take a hundred times its memory, and seconds, to parse. No part of the pattern backtracks.
_FEW_STRINGS = re.compile(r'[^"]{0,64}+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"]{0,64}+){0,16}+', re.DOTALL)


class MalformedFrame(Exception):
    """The other side sent what is no frame."""


def encode(message: dict[str, Any]) -> bytes:
    """Return `message` as one frame."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Cuts a byte stream from an untrusted peer into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes, limit: int) -> dict[str, Any] | None:
        """Take bytes and return the message that they complete, if any.

        Raises:
            MalformedFrame: a frame over `limit` bytes, no JSON object, one of many parts, or bytes behind the frame.
        """
        self._buffer += data
        if len(self._buffer) < HEADER_BYTES:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > limit or len(self._buffer) > HEADER_BYTES + length:
            raise MalformedFrame(f"a frame of {length} bytes where {limit} are allowed, or more than one frame")
        if len(self._buffer) < HEADER_BYTES + length:
            return None
        body = bytes(self._buffer[HEADER_BYTES:])
        self._buffer.clear()
        _check_parts(body)
        return parse(body)


def _check_parts(body: bytes) -> None:
    try:
        text = body.decode()  # json would take UTF-16 too, whose quotes the pattern does not see
    except UnicodeDecodeError as error:
        raise MalformedFrame("not UTF-8") from error
    if not _FEW_STRINGS.fullmatch(text):
        raise MalformedFrame("more parts than an answer has")


def parse(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`.

    Raises:
        MalformedFrame: it is none.
    """
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedFrame("not JSON") from error
    if not isinstance(message, dict):
        raise MalformedFrame("not a JSON object")
    return message


def length(header: bytes) -> int:
    """Return how many bytes follow `header`."""
    (size,) = _LENGTH.unpack(header)
    return int(size)

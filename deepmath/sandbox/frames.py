"""Frames between the supervisor and a sandbox, over a stream socket: named texts, each as raw bytes after its length.

    frame   length of the fields in 4 bytes, then the fields
    field   length of the name in 1 byte, name; length of the text in 4 bytes, text in UTF-8

A frame takes one pass over at most MOST_FIELDS lengths to parse, whatever a hostile peer wrote into the texts.
"""

import struct
from collections.abc import Mapping

_LENGTH = struct.Struct("!I")
HEADER_BYTES = _LENGTH.size
MOST_FIELDS = 24

Fields = Mapping[str, str | int | bytes]
"""A message to send: texts, numbers and images."""
Message = dict[str, bytes]
"""A message received: texts of unchecked UTF-8, and images, by name."""


class MalformedFrame(Exception):
    """The peer sent something that is not a valid frame."""


def encode(message: Fields) -> bytes:
    """Return `message` as one frame, with lone surrogates escaped."""
    parts = [b""]
    for name, value in message.items():
        text = value if isinstance(value, bytes) else str.encode(str(value), "utf-8", "backslashreplace")
        parts += (len(name).to_bytes(1, "big"), name.encode("ascii"), _LENGTH.pack(len(text)), text)
    parts[0] = _LENGTH.pack(sum(map(len, parts)))
    return b"".join(parts)


class Decoder:
    """Cuts a byte stream from an untrusted peer into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes, limit: int) -> Message | None:
        """Add bytes; return the message that they complete, or None.

        Raises:
            MalformedFrame: The frame is over `limit` bytes or its fields are malformed, or more bytes follow it.
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
        self._buffer = bytearray()
        return parse(body)


def parse(body: bytes) -> Message:
    """Return the fields in `body`, the part of a frame after its length.

    Raises:
        MalformedFrame: It is not a sequence of at most MOST_FIELDS complete fields with different names.
    """
    message: Message = {}
    at = 0
    while at < len(body):
        name_end = at + 1 + body[at]
        start = name_end + HEADER_BYTES
        if start > len(body):
            raise MalformedFrame("a field without a length")
        name = body[at + 1 : name_end].decode("ascii", "replace")
        (length,) = _LENGTH.unpack_from(body, name_end)
        at = start + length
        if at > len(body) or name in message or len(message) >= MOST_FIELDS:
            raise MalformedFrame("a truncated or repeated field, or too many fields")
        message[name] = body[start:at]
    return message


def length(header: bytes) -> int:
    """Return the length of the fields after `header`, in bytes."""
    (size,) = _LENGTH.unpack(header)
    return int(size)

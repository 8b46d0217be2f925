"""Limit on the number of fields in a message, enforced before protobuf parses it.

A message of 4 MiB can consist of two million empty messages, which take protobuf a quarter of a second and 200 MB to
parse, on the event loop that serves everybody. Honest messages have few fields, and long ones.
Wire format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations  # grpc's classes are generic in their stubs only

from functools import cache
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor

from deepmath.errors import InvalidRequest
from deepmath.rpc.handler_wrapping import replace_deserializer

_MOST_SHIFT = 63  # a number has ten bytes at most
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5


def limit_fields(handler: Any, most: int) -> grpc.RpcMethodHandler[Any, Any]:
    """Return `handler` with a deserializer that raises InvalidRequest for a message of more than `most` fields."""
    parse = handler.request_deserializer
    descriptor = getattr(getattr(parse, "__self__", None), "DESCRIPTOR", None)
    if descriptor is None:  # not a method of a message class
        unlimited: grpc.RpcMethodHandler[Any, Any] = handler
        return unlimited

    def parse_if_short(data: bytes) -> Any:
        if len(data) > most and count_fields(data, descriptor, most) > most:
            raise InvalidRequest(f"a {descriptor.name} has more than {most} fields; send less at a time")
        return parse(data)

    return replace_deserializer(handler, parse_if_short)


def count_fields(data: bytes, descriptor: Descriptor, most: int) -> int:
    """Return the number of fields of a serialized message and those in it, or more than `most` if it has more.

    A malformed message may be counted to where it is malformed only; protobuf rejects it.
    """
    fields = 0
    open_messages = [(0, len(data), _messages_in(descriptor))]
    try:
        while open_messages:
            at, end, inner = open_messages.pop()
            while at < end and fields <= most:
                fields += 1
                tag, at = _varint(data, at)
                kind = tag & 7
                if kind == _BYTES:
                    length, at = _varint(data, at)
                    if message := inner.get(tag >> 3):
                        open_messages.append((at, min(at + length, end), _messages_in(message)))
                    at += length
                elif kind == _VARINT:
                    _, at = _varint(data, at)
                else:
                    at += {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(kind, 0)
    except IndexError:  # truncated
        pass
    return fields


@cache
def _messages_in(descriptor: Descriptor) -> dict[int, Descriptor]:
    """Return the types of the fields that are messages, by number."""
    return {field.number: field.message_type for field in descriptor.fields if field.message_type is not None}


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at a position, and the position after it."""
    number, shift = 0, 0
    while (byte := data[at]) & 0x80 and shift < _MOST_SHIFT:
        number |= (byte & 0x7F) << shift
        shift += 7
        at += 1
    return number | byte << shift, at + 1

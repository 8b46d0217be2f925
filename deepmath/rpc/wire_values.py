"""Values sent into and out of a sandbox: JSON, with `$type` objects for types that JSON lacks.

The types are those of VALUE_FORMAT_JSON in executor.proto. Text from a sandbox is hostile. Its length, number of parts
and nesting depth are checked before it is decoded; duplicate keys, NaN, infinite numbers and lone surrogates are
rejected; and no `$type` object decodes to more than a plain value of about its own size. Nothing is ever pickled.
"""

import base64
import binascii
import json
import math
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

ARGUMENT_BYTES = 256 << 10
"""Limit for the arguments of one host call."""
RESULT_BYTES = 1 << 20
"""Limit for the result of one host call."""
MOST_PARTS = 20_000
MOST_DEPTH = 64
MOST_HASHED = 2_000  # members of a set, or keys that are not strings: numbers can be chosen to collide
MOST_BITS = 14_000  # of an integer: Python converts 4300 digits by default

_TYPE = "$type"
# Matches an unterminated string too: otherwise every quote would be tried up to the end of the text.
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*\\?(?:"|\Z)', re.DOTALL)
_BRACKET = re.compile(r"[][{}]")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_DTYPE = re.compile(r"\|b1|\|[iu]1|[<>][iu][248]|[<>]f[248]|[<>]c(?:8|16)")
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def dumps(value: Any, limit: int) -> str:
    """Return `value` as JSON in ASCII.

    Raises:
        TypeError: It contains an object without a JSON representation.
        ValueError: It takes more than `limit` bytes, has more than MOST_PARTS parts, nests deeper than MOST_DEPTH or
            than the stack allows, or contains an integer over MOST_BITS.
    """
    try:
        text = json.dumps(_encoded(value, 0), allow_nan=False, separators=(",", ":"))
    except RecursionError as error:
        raise ValueError(str(error)) from None
    _check(text, limit)
    return text


def dumps_anything(value: Any, limit: int) -> str:
    """Return `value` as JSON, or its `str` as a `text` object, cut in the middle if necessary, where `dumps` fails."""
    try:
        return dumps(value, limit)
    except (TypeError, ValueError):
        text = _valid(str(value))
    name = type.__dict__["__qualname__"].__get__(type(value))
    frame = {_TYPE: "text", "class": _valid(name)[:100], "text": "", "dropped": 0}
    room = max(0, limit - len(json.dumps(frame)) - 20)
    for kept in (room, room // 6):  # one character outside ASCII may take six bytes
        head, tail = text[: kept // 2], text[max(kept // 2, len(text) - kept // 2) :]
        dropped = len(text.encode()) - len((head + tail).encode())
        encoded = json.dumps(frame | {"text": head + tail, "dropped": dropped}, separators=(",", ":"))
        if len(encoded) <= limit:
            break
    return encoded


def loads(text: str, limit: int) -> Any:
    """Return the value in `text`. A `text` object becomes a string, an `ndarray` object a numpy array.

    Raises:
        ValueError: The text is over `limit` bytes, not valid, or over another limit of this module.
        ImportError: It contains an array, and numpy is not installed.
    """
    return _decoded(parse(text, limit))


def parse(text: str, limit: int) -> Any:
    """Return the plain JSON value in `text`, with `$type` objects as dicts.

    Raises:
        ValueError: As in `loads`.
    """
    _check(text, limit)
    try:
        data = _parser.decode(text)
        if _SURROGATE.search(text):
            json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate is not valid text") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON: {error}") from None
    return data


def _check(text: str, limit: int) -> None:
    if len(text) > limit:
        raise ValueError(f"{len(text)} bytes as JSON, limit {limit}")
    if not text.isascii():
        raise ValueError("not ASCII")
    bare = _STRING.sub("", text)
    if sum(map(bare.count, ",[{")) > MOST_PARTS:
        raise ValueError(f"more than {MOST_PARTS} parts")
    depth = 0
    for bracket in _BRACKET.findall(bare):
        depth += 1 if bracket in "[{" else -1
        if depth > MOST_DEPTH:
            raise ValueError(f"nested deeper than {MOST_DEPTH}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a duplicate key")
    return members


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number out of range")
    return number


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not valid JSON")


_parser = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_no_constant)


def _encoded(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _valid(value)
    if isinstance(value, int):
        if int.bit_length(value) > MOST_BITS:
            raise ValueError("an integer of over 4000 digits")
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {_TYPE: "float", "text": repr(float(value))}
    if isinstance(value, complex):
        return {_TYPE: "complex", "parts": [_encoded(value.real, 0), _encoded(value.imag, 0)]}
    if isinstance(value, bytes | bytearray):
        return {_TYPE: "bytes", "data": base64.b64encode(value).decode()}
    if depth >= MOST_DEPTH // 2:  # a `$type` object takes two levels
        raise ValueError(f"nested deeper than {MOST_DEPTH // 2}")
    return _container(value, depth + 1)


def _container(value: Any, depth: int) -> Any:
    if isinstance(value, list):
        return [_encoded(item, depth) for item in value]
    if isinstance(value, dict):
        if _TYPE not in value and all(type(key) is str for key in value):
            return {_valid(key): _encoded(item, depth) for key, item in value.items()}
        items = _checked_count(value.items())
        return {_TYPE: "dict", "items": [[_encoded(key, depth), _encoded(item, depth)] for key, item in items]}
    if isinstance(value, tuple):
        return {_TYPE: "tuple", "items": [_encoded(item, depth) for item in value]}
    if isinstance(value, set | frozenset):
        kind = "set" if isinstance(value, set) else "frozenset"
        return {_TYPE: kind, "items": [_encoded(item, depth) for item in _checked_count(value)]}
    return _encoded_numpy(value)


def _checked_count(members: Any) -> Any:
    if len(members) > MOST_HASHED:
        raise ValueError(f"more than {MOST_HASHED} members of a set, or keys that are not strings")
    return members


def _encoded_numpy(value: Any) -> Any:
    numpy = sys.modules.get("numpy")  # if it is not loaded, no value is from it
    # Not a subclass, such as a masked array: it would come back as a different value.
    if numpy is not None and type(value) is numpy.ndarray and _DTYPE.fullmatch(value.dtype.str):
        data = base64.b64encode(value.tobytes()).decode()
        return {_TYPE: "ndarray", "dtype": value.dtype.str, "shape": list(value.shape), "data": data}
    if numpy is not None and isinstance(value, numpy.generic) and not isinstance(value.item(), numpy.generic):
        return _encoded(value.item(), 0)
    raise TypeError(f"{type(value).__name__} has no JSON representation")


def _valid(text: str) -> str:
    try:
        str.encode(text)
    except UnicodeEncodeError:
        return str.encode(text, "utf-8", "backslashreplace").decode()
    return text


def _decoded(data: Any) -> Any:
    if isinstance(data, list):
        return [_decoded(item) for item in data]
    if not isinstance(data, dict):
        return data
    if _TYPE not in data:
        return {key: _decoded(item) for key, item in data.items()}
    kind = data[_TYPE]
    try:
        return _DECODERS[kind](data)
    except (KeyError, TypeError, AttributeError, OverflowError, binascii.Error) as error:
        raise ValueError(f"not a valid value of {_TYPE} {kind!r}: {type(error).__name__}: {error}") from None


def _items(data: dict[str, Any]) -> list[Any]:
    items = data["items"]
    if not isinstance(items, list):
        raise TypeError("not a list")
    return [_decoded(item) for item in items]


def _hashed(make: Callable[[Iterable[Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda data: make(_checked_count(_items(data)))


def _text(data: dict[str, Any]) -> str:
    text, dropped = data["text"], data["dropped"]
    if not isinstance(text, str) or type(dropped) is not int:
        raise TypeError("not a text")
    if dropped:
        half = len(text) // 2
        text = f"{text[:half]}\n..._{dropped} bytes of this value were left out_...\n{text[half:]}"
    return text


def _complex(data: dict[str, Any]) -> complex:
    real, imaginary = map(_decoded, data["parts"])
    return complex(float(real), float(imaginary))


def _array(data: dict[str, Any]) -> Any:
    import numpy

    dtype, shape = data["dtype"], data["shape"]
    if not _DTYPE.fullmatch(dtype) or len(shape) > 32 or not all(type(size) is int and size >= 0 for size in shape):
        raise TypeError("invalid dtype or shape")
    raw = base64.b64decode(data["data"], validate=True)
    if len(raw) != math.prod(shape) * numpy.dtype(dtype).itemsize:
        raise TypeError("data does not fit the shape")
    return numpy.frombuffer(raw, dtype).reshape(shape).copy()  # a view would be read-only


_DECODERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "tuple": lambda data: tuple(_items(data)),
    "set": _hashed(set),
    "frozenset": _hashed(frozenset),
    "dict": _hashed(dict),
    "float": lambda data: _NOT_FINITE[data["text"]],
    "complex": _complex,
    "bytes": lambda data: base64.b64decode(data["data"], validate=True),
    "ndarray": _array,
    "text": _text,
}

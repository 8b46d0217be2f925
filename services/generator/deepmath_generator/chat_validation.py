"""Validation of the messages and functions of a chat: each check raises `InvalidRequest` with the offending field."""

import json
import re
from collections.abc import Sequence

from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb

_MAX_MESSAGES = 1024
_MAX_BYTES = 512 << 10
_MAX_FUNCTIONS = 128
_MAX_CALLS = 128  # of a message
_MAX_NESTING = 32  # of JSON
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MAX_CALL_ID = 256  # characters

_ROLE = pb.ChatMessage
_CONTEXT_ROLES = (_ROLE.ROLE_SYSTEM, _ROLE.ROLE_USER, _ROLE.ROLE_ASSISTANT)


def check_chat(messages: Sequence[pb.ChatMessage], functions: Sequence[pb.Function] = ()) -> int:
    """Return the number of bytes of a chat's messages and functions.

    Raises:
        InvalidRequest: They are empty, too large or malformed.
    """
    if not messages:
        raise InvalidRequest(f"messages: 0; the number must be from 1 to {_MAX_MESSAGES}")
    size = _check_messages("messages", messages, (*_CONTEXT_ROLES, _ROLE.ROLE_TOOL))
    size += _check_functions(functions)
    if size > _MAX_BYTES:
        raise InvalidRequest(f"messages have {size} bytes in total with functions; the maximum is {_MAX_BYTES}")
    if not any(message.content.strip() or message.calls for message in messages):
        raise InvalidRequest("messages are all empty; provide text for the model to answer")
    return size


def check_context(field: str, messages: Sequence[pb.ChatMessage]) -> int:
    """Return the number of bytes of the messages before a question.

    Raises:
        InvalidRequest: They are too large, or of other roles than system, user and assistant.
    """
    return _check_messages(field, messages, _CONTEXT_ROLES)


def _check_messages(
    field: str, messages: Sequence[pb.ChatMessage], roles: Sequence["pb.ChatMessage.Role.ValueType"]
) -> int:
    if len(messages) > _MAX_MESSAGES:
        raise InvalidRequest(f"{field}: {len(messages)}; the number must be at most {_MAX_MESSAGES}")
    size = 0
    for index, message in enumerate(messages):
        where = f"{field}[{index}]"
        if message.role not in roles:
            names = ", ".join(map(pb.ChatMessage.Role.Name, roles))
            raise InvalidRequest(f"{where}.role is {message.role}; use one of {names}")
        size += len(message.content.encode()) + _check_calls(where, message, takes_calls=_ROLE.ROLE_TOOL in roles)
    if size > _MAX_BYTES:
        raise InvalidRequest(f"{field} have {size} bytes in total; the maximum is {_MAX_BYTES}")
    return size


def _check_calls(where: str, message: pb.ChatMessage, *, takes_calls: bool) -> int:
    if message.calls and not (takes_calls and message.role == _ROLE.ROLE_ASSISTANT):
        raise InvalidRequest(f"{where}.calls: only ROLE_ASSISTANT in a chat calls functions")
    if message.call_id and message.role != _ROLE.ROLE_TOOL:
        raise InvalidRequest(f"{where}.call_id: only ROLE_TOOL has the output of a call")
    if len(message.calls) > _MAX_CALLS:
        raise InvalidRequest(f"{where}.calls: {len(message.calls)}; the maximum is {_MAX_CALLS}")
    size = _check_call_id(f"{where}.call_id", message.call_id)
    for number, call in enumerate(message.calls):
        name = f"{where}.calls[{number}]"
        _check_name(f"{name}.name", call.name)
        size += _check_call_id(f"{name}.id", call.id) + len(call.name)
        size += _check_object(f"{name}.arguments_json", call.arguments_json)
    return size


def _check_functions(functions: Sequence[pb.Function]) -> int:
    if len(functions) > _MAX_FUNCTIONS:
        raise InvalidRequest(f"functions: {len(functions)}; the maximum is {_MAX_FUNCTIONS}")
    size = 0
    for index, function in enumerate(functions):
        where = f"functions[{index}]"
        _check_name(f"{where}.name", function.name)
        size += len(function.name) + len(function.description.encode())
        size += _check_object(f"{where}.parameters_json", function.parameters_json)
    if len({function.name for function in functions}) < len(functions):
        raise InvalidRequest("functions: two have the same name")
    return size


def _check_name(field: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidRequest(f"{field} is {name[:80]!r}; use 1 to 64 ASCII letters, digits, _ and -")


def _check_call_id(field: str, call_id: str) -> int:
    if len(call_id) > _MAX_CALL_ID:
        raise InvalidRequest(f"{field} is longer than {_MAX_CALL_ID} characters")
    return len(call_id.encode())


def _check_object(field: str, text: str) -> int:
    """Check that `text` is an object as JSON text, or empty; return its size in bytes."""
    if (size := len(text.encode())) > _MAX_BYTES:
        raise InvalidRequest(f"{field} has {size} bytes; the maximum is {_MAX_BYTES}")
    try:
        value = json.loads(text or "{}")
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # templates write it so
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{field} is not valid JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise InvalidRequest(f"{field} is not a JSON object")
    if _nesting(value) > _MAX_NESTING:
        raise InvalidRequest(f"{field} nests deeper than {_MAX_NESTING} levels")
    return size


def _nesting(value: object) -> int:
    deepest, level = 0, [value]
    while level and deepest <= _MAX_NESTING:
        inner = [
            list(item.values()) if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)
        ]
        level = [item for items in inner for item in items]
        deepest += bool(inner)
    return deepest

"""Conversion of smolagents' messages into the generator's."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from smolagents.models import ChatMessage, MessageRole

from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb

# The same as smolagents' own models: tool calls and results are text of assistant and user.
_ROLES = {
    MessageRole.SYSTEM: pb.ChatMessage.ROLE_SYSTEM,
    MessageRole.USER: pb.ChatMessage.ROLE_USER,
    MessageRole.ASSISTANT: pb.ChatMessage.ROLE_ASSISTANT,
    MessageRole.TOOL_CALL: pb.ChatMessage.ROLE_ASSISTANT,
    MessageRole.TOOL_RESPONSE: pb.ChatMessage.ROLE_USER,
}


def to_generator_messages(messages: Iterable[ChatMessage | dict[str, Any]]) -> list[pb.ChatMessage]:
    """Return `messages` for the generator. Consecutive messages of one role are joined by line breaks.

    Raises:
        InvalidRequest: A message has an unknown role, or content other than text.
    """
    if isinstance(messages, str | dict | ChatMessage):
        raise InvalidRequest("messages must be a list of messages, such as [{'role': 'user', 'content': '…'}]")
    turns = [_turn(index, message) for index, message in enumerate(messages)]
    return [
        pb.ChatMessage(role=role, content="\n".join(text for _, text in group))
        for role, group in groupby(turns, key=lambda turn: turn[0])
    ]


def _turn(index: int, message: ChatMessage | dict[str, Any]) -> tuple[pb.ChatMessage.Role.ValueType, str]:
    where = f"messages[{index}]"
    if isinstance(message, ChatMessage):
        role, content = message.role, message.content
    elif isinstance(message, dict):
        role, content = message.get("role"), message.get("content")
    else:
        raise InvalidRequest(
            f"{where} is a {type(message).__name__}; pass a ChatMessage or a dict with role and content"
        )
    if role not in _ROLES:  # members of MessageRole are strings
        raise InvalidRequest(f"{where}.role is {role!r}; the roles are {', '.join(MessageRole.roles())}")
    return _ROLES[role], _text(where, content)


def _text(where: str, content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise InvalidRequest(f"{where}.content is a {type(content).__name__}; pass text, or a list of text parts")
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else type(part).__name__
        if kind != "text":
            raise InvalidRequest(f"{where} has a part of type {kind}; this model reads text only")
        texts.append(str(part.get("text", "")))
    return "\n".join(texts)

"""smolagents' messages as those of the generator."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from smolagents.models import ChatMessage, MessageRole

from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb

# As smolagents' own models do: what tools are asked and answer is text of the two speakers.
_ROLES = {
    MessageRole.SYSTEM: pb.ChatMessage.ROLE_SYSTEM,
    MessageRole.USER: pb.ChatMessage.ROLE_USER,
    MessageRole.ASSISTANT: pb.ChatMessage.ROLE_ASSISTANT,
    MessageRole.TOOL_CALL: pb.ChatMessage.ROLE_ASSISTANT,
    MessageRole.TOOL_RESPONSE: pb.ChatMessage.ROLE_USER,
}


def as_chat(messages: Iterable[ChatMessage | dict[str, Any]]) -> list[pb.ChatMessage]:
    """Return `messages` for the generator; those of one speaker in a row are one, parted by line breaks.

    Raises:
        InvalidRequest: one has no known role, or holds anything but text.
    """
    if isinstance(messages, str | dict | ChatMessage):
        raise InvalidRequest("messages has to be a list of messages, such as [{'role': 'user', 'content': '…'}]")
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
        raise InvalidRequest(f"{where} is a {type(message).__name__}; give ChatMessage or a dict with role and content")
    if role not in _ROLES:  # MessageRole are strings
        raise InvalidRequest(f"{where}.role is {role!r}; take one of {', '.join(MessageRole.roles())}")
    return _ROLES[role], _text(where, content)


def _text(where: str, content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise InvalidRequest(f"{where}.content is a {type(content).__name__}; give text, or a list of parts with text")
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else type(part).__name__
        if kind != "text":
            raise InvalidRequest(f"{where} holds a part of type {kind}; this model reads text only: leave it out")
        texts.append(str(part.get("text", "")))
    return "\n".join(texts)

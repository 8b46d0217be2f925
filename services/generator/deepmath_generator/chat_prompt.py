"""Prompt of a chat: messages rendered by the model's own chat template and encoded."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath_generator.chat_frame import render_chat
from deepmath_generator.literal_encoding import added_tokens, encode_pieces, special_tokens, split_tokens

_ROLES = {
    pb.ChatMessage.ROLE_SYSTEM: "system",
    pb.ChatMessage.ROLE_USER: "user",
    pb.ChatMessage.ROLE_ASSISTANT: "assistant",
    pb.ChatMessage.ROLE_TOOL: "tool",
}

_MAX_MESSAGES = 1024
_MAX_BYTES = 512 << 10


def encode_chat(tokenizer: Any, messages: Sequence[pb.ChatMessage]) -> list[int]:
    """Return the token ids of the prompt for the assistant's next turn.

    Messages are plain text: a `<|im_end|>` in them is not the special token. In the assistant's own messages, added
    tokens that are not special, such as Qwen3's `<tool_call>`, are recognised.

    Raises:
        InvalidRequest: The chat template rejects the messages.
    """
    if not tokenizer.chat_template:
        raise InvalidRequest("the model has no chat template and cannot chat; serve a chat model")
    cut = f"\u2063{uuid4().hex}\u2063"  # marks, in the rendered text, where to encode the pieces separately
    chat = [{"role": _ROLES[message.role], "content": _cut_content(tokenizer, message, cut)} for message in messages]
    try:
        rendered = render_chat(tokenizer, chat)
    except Exception as error:  # templates are programs, and reject messages by raising any exception
        raise InvalidRequest(f"messages: the model's chat template rejects them: {error}") from error
    return [token for ids in encode_pieces(tokenizer, rendered.split(cut)) for token in ids]


def _cut_content(tokenizer: Any, message: pb.ChatMessage, cut: str) -> str:
    """Return the content with `cut` in each token that is plain text there."""
    is_assistant = message.role == pb.ChatMessage.ROLE_ASSISTANT
    tokens = special_tokens(tokenizer) if is_assistant else added_tokens(tokenizer)
    return cut.join(split_tokens(tokens, message.content))


def check_chat(messages: Sequence[pb.ChatMessage]) -> int:
    """Return the number of bytes of a chat's messages.

    Raises:
        InvalidRequest: The messages are empty or too large, or have no role.
    """
    if not 1 <= len(messages) <= _MAX_MESSAGES:
        raise InvalidRequest(f"messages: {len(messages)}; the number must be from 1 to {_MAX_MESSAGES}")
    for index, message in enumerate(messages):
        if message.role not in _ROLES:
            raise InvalidRequest(f"messages[{index}].role is {message.role}; use a value of ChatMessage.Role")
    if (size := sum(len(message.content.encode()) for message in messages)) > _MAX_BYTES:
        raise InvalidRequest(f"messages have {size} bytes in total; the maximum is {_MAX_BYTES}")
    if not any(message.content.strip() for message in messages):
        raise InvalidRequest("messages are all empty; provide text for the model to answer")
    return size

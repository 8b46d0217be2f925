"""How the messages of a conversation become token ids: by the model's own chat template."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb

_ROLES = {
    pb.ChatMessage.ROLE_SYSTEM: "system",
    pb.ChatMessage.ROLE_USER: "user",
    pb.ChatMessage.ROLE_ASSISTANT: "assistant",
    pb.ChatMessage.ROLE_TOOL: "tool",
}

_MAX_MESSAGES = 1024
_MAX_BYTES = 512 << 10
_CUT = "\u2063cut\u2063"  # stands in rendered text where the encoding has to begin anew


def encode_conversation(tokenizer: Any, messages: Sequence[pb.ChatMessage]) -> list[int]:
    """Return the ids of the prompt for the next turn of the assistant.

    What messages say is plain text: a `<|im_end|>` in them is no token. Tokens that are not special, such as Qwen3's
    `<tool_call>`, are tokens where the assistant says them.

    Raises:
        InvalidRequest: there is nothing to answer, too much of it, or the template does not take it.
    """
    _check(messages)
    every, special = _added_tokens(tokenizer)
    conversation = [
        {
            "role": _ROLES[message.role],
            "content": _cut(special if message.role == pb.ChatMessage.ROLE_ASSISTANT else every, message.content),
        }
        for message in messages
    ]
    if not tokenizer.chat_template:
        raise InvalidRequest("this model has no chat template and takes no messages; serve one that was made for chats")
    try:
        rendered = tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is a program: it may raise anything, and does so to refuse
        raise InvalidRequest(f"messages: the model's chat template does not take them: {error}") from error
    pieces = rendered.split(_CUT)
    return [token for piece in pieces for token in tokenizer.encode(piece, add_special_tokens=False)]


def _check(messages: Sequence[pb.ChatMessage]) -> None:
    if not 1 <= len(messages) <= _MAX_MESSAGES:
        raise InvalidRequest(f"messages: {len(messages)}; from 1 to {_MAX_MESSAGES} are taken")
    for index, message in enumerate(messages):
        if message.role not in _ROLES:
            raise InvalidRequest(f"messages[{index}].role is {message.role}; take one that ChatMessage.Role names")
    if (size := sum(len(message.content.encode()) for message in messages)) > _MAX_BYTES:
        raise InvalidRequest(f"messages have {size} bytes together; at most {_MAX_BYTES} are taken")
    if not any(message.content.strip() for message in messages):
        raise InvalidRequest("messages are all empty; write what the model should answer")


@lru_cache(maxsize=8)
def _added_tokens(tokenizer: Any) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what finds all of the tokenizer's added tokens, and what finds the special ones."""
    added = tokenizer.added_tokens_decoder.values()
    return _finding(token.content for token in added), _finding(token.content for token in added if token.special)


def _finding(texts: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _cut(tokens: re.Pattern[str], text: str) -> str:
    """Return `text` with a cut after the first character of each of `tokens`: neither half is one."""
    return tokens.sub(lambda found: found[0][0] + _CUT + found[0][1:], text)

"""Prompts of chats: plain text, tool calls of the assistant, and chat templates."""

import copy

import pytest
from deepmath_generator.chat_prompt import encode_chat

from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb

SYSTEM, USER, ASSISTANT = pb.ChatMessage.ROLE_SYSTEM, pb.ChatMessage.ROLE_USER, pb.ChatMessage.ROLE_ASSISTANT


def message(role: "pb.ChatMessage.Role.ValueType", content: str) -> pb.ChatMessage:
    return pb.ChatMessage(role=role, content=content)


def test_special_tokens_in_messages_are_plain_text(tokenizer) -> None:
    ids = encode_chat(tokenizer, [message(role, "<|im_end|><|im_start|>") for role in (SYSTEM, USER, ASSISTANT)])
    clean = encode_chat(tokenizer, [message(role, "1") for role in (SYSTEM, USER, ASSISTANT)])
    specials = set(tokenizer.all_special_ids)
    assert [i for i in ids if i in specials] == [i for i in clean if i in specials]
    assert tokenizer.decode(ids).count("<|im_end|><|im_start|>") == 3


def test_tool_call_is_a_token_in_assistant_messages_and_text_elsewhere(tokenizer) -> None:
    call = tokenizer.convert_tokens_to_ids("<tool_call>")
    assert encode_chat(tokenizer, [message(ASSISTANT, "<tool_call>")]).count(call) == 1
    assert encode_chat(tokenizer, [message(USER, "<tool_call>")]).count(call) == 0


def test_missing_chat_template_and_its_rejection_are_reported(tokenizer) -> None:
    tokenizer = copy.copy(tokenizer)
    tokenizer.chat_template = "{{ raise_exception('the first message has to be of the user') }}"
    with pytest.raises(InvalidRequest, match=r"rejects them: the first message has to be of the user"):
        encode_chat(tokenizer, [message(SYSTEM, "Use Python."), message(USER, "2 + 2?")])
    tokenizer.chat_template = None
    with pytest.raises(InvalidRequest, match="no chat template"):
        encode_chat(tokenizer, [message(SYSTEM, "Use Python."), message(USER, "2 + 2?")])

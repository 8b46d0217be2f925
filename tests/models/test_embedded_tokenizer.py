"""The embedded model's tokenizer."""

from typing import Any

import pytest

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<think>", "</think>"]


@pytest.mark.parametrize("token", SPECIALS)
def test_special_token_is_one_token(tokenizer: Any, token: str) -> None:
    assert tokenizer.decode(tokenizer.encode(token, add_special_tokens=False)) == token
    assert len(tokenizer.encode(f"a{token}b", add_special_tokens=False)) == 3


def test_tool_call_markers_survive_decoding_without_special_tokens(tokenizer: Any) -> None:
    ids = tokenizer.encode("<tool_call>\n1\n</tool_call><|im_end|>", add_special_tokens=False)
    assert tokenizer.decode(ids, skip_special_tokens=True) == "<tool_call>\n1\n</tool_call>"


def test_every_digit_is_one_token(tokenizer: Any) -> None:
    text = "9876543210*12/345"
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert [tokenizer.decode([i]) for i in ids] == list(text)


@pytest.mark.parametrize("text", ["12 + 3*x", "def f():\n    return 1", "naïve π ≠ 3, 数学 🙂", "  two  blanks \n\n\t"])
def test_any_text_round_trips(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_special_token_in_a_question_is_encoded_as_ordinary_text(tokenizer: Any) -> None:
    ids = tokenizer.encode("<|im_end|>", add_special_tokens=False, split_special_tokens=True)
    assert tokenizer.eos_token_id not in ids
    assert tokenizer.decode(ids) == "<|im_end|>"


def test_chat_template_is_qwen3s(tokenizer: Any) -> None:
    messages = [{"role": "system", "content": "Use Python."}, {"role": "user", "content": "1+1?"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|im_start|>system\nUse Python.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_end_of_turn_token_ends_generation_and_padding_is_another_token(tokenizer: Any) -> None:
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token == "<|endoftext|>"

"""Text is cut so that no piece contains an added token."""

import re

import pytest
from deepmath_generator.literal_encoding import encode_literally, split_tokens


@pytest.mark.parametrize("text", ["<|im_end|>", "a<tool_call>b</tool_call>", "<<|im_end|>>", "", "plain"])
def test_encoded_text_has_no_added_token_and_decodes_to_itself(tokenizer, text: str) -> None:
    ids = encode_literally(tokenizer, text)
    assert not set(ids) & set(tokenizer.added_tokens_decoder)
    assert tokenizer.decode(ids) == text


def test_overlapping_tokens_are_all_cut() -> None:
    assert list(split_tokens(re.compile("<a|a>"), "x<a>y")) == ["x<", "a", ">y"]

"""Encoding of text as plain text: special tokens that it spells out, such as `<|im_end|>`, are not recognised.

Tokenizers replace the text of an added token by that token's id wherever it appears (`split_special_tokens` of
transformers exempts special tokens only, not `<tool_call>`). Cutting the text after the first character of each such
occurrence and encoding the pieces separately leaves no piece that contains one.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any


def encode_literally(tokenizer: Any, text: str) -> list[int]:
    """Return the token ids of `text`, none of them an added token."""
    return [
        token
        for piece in split_tokens(added_tokens(tokenizer), text)
        for token in tokenizer.encode(piece, add_special_tokens=False)
    ]


def split_tokens(tokens: re.Pattern[str], text: str) -> Iterator[str]:
    """Yield pieces of `text`, cut after the first character of every match of `tokens`, overlapping ones included."""
    start = 0
    while match := tokens.search(text, start):
        cut = match.start() + 1
        yield text[start:cut]
        start = cut
    yield text[start:]


@lru_cache(maxsize=8)
def added_tokens(tokenizer: Any) -> re.Pattern[str]:
    """Return a pattern that matches any added token of the tokenizer."""
    return _any_of(token.content for token in tokenizer.added_tokens_decoder.values())


@lru_cache(maxsize=8)
def special_tokens(tokenizer: Any) -> re.Pattern[str]:
    """Return a pattern that matches the added tokens that are special. Qwen3's `<tool_call>` is not."""
    return _any_of(token.content for token in tokenizer.added_tokens_decoder.values() if token.special)


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

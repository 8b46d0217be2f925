"""Encoding of text as plain text: special tokens that it spells out, such as `<|im_end|>`, are not recognised.

Tokenizers replace the text of an added token by that token's id wherever it appears (`split_special_tokens` of
transformers exempts special tokens only, not `<tool_call>`). Cutting the text after the first character of each such
occurrence and encoding the pieces separately leaves no piece that contains one. A tokenizer that normalizes text may
still find one, such as `<tool_call>` in full-width letters; that piece is encoded character by character.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

_BATCH = 256


def encode_literally(tokenizer: Any, text: str) -> list[int]:
    """Return the token ids of `text`, none of them an added token that the text spells out."""
    added = _added_ids(tokenizer)
    ids: list[int] = []
    pieces = list(split_tokens(added_tokens(tokenizer), text))
    for piece, piece_ids in zip(pieces, encode_pieces(tokenizer, pieces), strict=True):
        if added.isdisjoint(piece_ids):
            ids += piece_ids
        else:
            ids += [token for ids in encode_pieces(tokenizer, list(piece)) for token in ids]
    return ids


def encode_pieces(tokenizer: Any, pieces: Sequence[str]) -> list[list[int]]:
    """Return the token ids of each piece, with added tokens where it spells them out.

    The backend of transformers' tokenizers releases the interpreter lock while it encodes, unlike `encode`, but not
    while it converts pieces and results: 50,000 at once would hold it for half a second.
    """
    if backend := getattr(tokenizer, "backend_tokenizer", None):
        batches = (list(pieces[start : start + _BATCH]) for start in range(0, len(pieces), _BATCH))
        encodings = (backend.encode_batch_fast(batch, add_special_tokens=False) for batch in batches)
        return [encoding.ids for batch in encodings for encoding in batch]
    return [tokenizer.encode(piece, add_special_tokens=False) for piece in pieces]


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
def _added_ids(tokenizer: Any) -> frozenset[int]:
    return frozenset(tokenizer.added_tokens_decoder)


@lru_cache(maxsize=8)
def special_tokens(tokenizer: Any) -> re.Pattern[str]:
    """Return a pattern that matches the added tokens that are special. Qwen3's `<tool_call>` is not."""
    return _any_of(token.content for token in tokenizer.added_tokens_decoder.values() if token.special)


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

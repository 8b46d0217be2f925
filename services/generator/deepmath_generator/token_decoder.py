"""Incremental decoding of token ids, in time linear in their number.

Decoding a token on its own is not enough: a character may span tokens, and some tokenizers drop the space before a
first token. Each step therefore decodes the last few tokens again, together with the new ones. The streams of the
`tokenizers` library and of vLLM withhold text while it ends with an incomplete character, and decode all that they
withhold at each token: 4,000 tokens that are no UTF-8 take a second. Here at most three characters are withheld.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_CONTEXT_TOKENS = 8  # more than the bytes of a character
_INCOMPLETE = "\ufffd"
_MAX_INCOMPLETE = 3  # bytes of a character of UTF-8 without its last, each decoded as one character at most


@dataclass(frozen=True)
class TokenDecoder:
    """The state after some tokens; `decode` returns the one after further tokens."""

    tokenizer: Any
    tokens: Sequence[int]
    """The last tokens."""
    withheld: str = ""
    """The end of their text, if that may be a part of a character."""

    @classmethod
    def after(cls, tokenizer: Any, tokens: Sequence[int]) -> "TokenDecoder":
        """Return a decoder of the text that follows `tokens`."""
        return cls(tokenizer, tokens[-_CONTEXT_TOKENS:])

    def decode(self, tokens: Sequence[int]) -> "tuple[str, TokenDecoder]":
        """Return the text of `tokens` as far as its characters are complete, and the decoder of what follows."""
        window = [*self.tokens, *tokens]
        text = self._decode(window)[len(self._decode(self.tokens)) - len(self.withheld) :]
        complete = text.rstrip(_INCOMPLETE)
        complete += _INCOMPLETE * max(0, len(text) - len(complete) - _MAX_INCOMPLETE)
        return complete, TokenDecoder(self.tokenizer, window[-_CONTEXT_TOKENS:], text[len(complete) :])

    def _decode(self, tokens: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

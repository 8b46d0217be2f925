"""Incremental decoding of token ids, in time linear in their number.

Decoding each token on its own is not enough: a character may span tokens, and some tokenizers drop the space before a
first token. Each step therefore decodes the last few tokens again, together with the new ones. The streams of the
`tokenizers` library and of vLLM hold tokens back while the text ends within a character, and decode all of them again
at each token: 4,000 tokens that are no UTF-8 take a second. Here at most three tokens are held back, as many as there
can be before the last byte of a character.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_CONTEXT_TOKENS = 8
_MAX_CHARACTER_BYTES = 4
_INVALID = "\ufffd"  # the text of bytes that are no character, or a part of one


@dataclass(frozen=True)
class TokenDecoder:
    """The state after some tokens; `decode` returns the one after further tokens."""

    tokenizer: Any
    context: Sequence[int]
    """The last tokens whose text is known."""
    pending: Sequence[int] = ()
    """The tokens after these: they end within a character."""

    @classmethod
    def after(cls, tokenizer: Any, tokens: Sequence[int]) -> "TokenDecoder":
        """Return a decoder of the text that follows `tokens`."""
        return cls(tokenizer, _context(tokenizer, tokens))

    def decode(self, tokens: Sequence[int]) -> "tuple[str, TokenDecoder]":
        """Return the text up to the last complete character of `tokens`, and the decoder of what follows it."""
        pending = [*self.pending, *tokens]
        before = _text(self.tokenizer, self.context)
        for held in range(_MAX_CHARACTER_BYTES):
            known = pending[: max(0, len(pending) - held)]
            text = _text(self.tokenizer, [*self.context, *known])
            if text.startswith(before) and not text.endswith(_INVALID):
                break
        if not text.startswith(before):  # bytes that belong together in some tokenizers' view, and are no text
            text = before + _text(self.tokenizer, known)
        context = _context(self.tokenizer, [*self.context, *known])
        return text[len(before) :], TokenDecoder(self.tokenizer, context, pending[len(known) :])

    def rest(self) -> str:
        """Return the text of the pending tokens if no other follows that completes it."""
        before = _text(self.tokenizer, self.context)
        text = _text(self.tokenizer, [*self.context, *self.pending])
        return text[len(before) :] if text.startswith(before) else _text(self.tokenizer, self.pending)


def _context(tokenizer: Any, tokens: Sequence[int]) -> Sequence[int]:
    """Return the last tokens, starting with a whole character if there is any."""
    for length in range(_CONTEXT_TOKENS, _CONTEXT_TOKENS + _MAX_CHARACTER_BYTES):
        context = tokens[-length:]
        if not _text(tokenizer, context).startswith(_INVALID):
            return context
    return tokens[-_CONTEXT_TOKENS:]


def _text(tokenizer: Any, tokens: Sequence[int]) -> str:
    text: str
    if backend := getattr(tokenizer, "backend_tokenizer", None):  # it does not copy the tokens one by one
        text = backend.decode(tokens, skip_special_tokens=False)
    else:
        text = tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text

"""Position in the tokens of an answer, and the bounds of its nesting."""

from deepmath.grading.answer_tokens import Token, UnreadableError, tokenize

_DEEPEST = 40
"""Levels of nesting. A limit keeps parsers, and every walk over their trees, from exhausting the stack."""


class TokenCursor:
    """Reads the tokens of one text."""

    def __init__(self, text: str) -> None:
        self.tokens = tokenize(text)
        self.at = 0
        self._depth = 0
        self._bars = 0

    @property
    def token(self) -> Token:
        """The next token."""
        return self.tokens[self.at]

    def next_is(self, *texts: str) -> bool:
        """Return whether the next token is a symbol or command of `texts`."""
        return self.token.kind in ("symbol", "command") and self.token.text in texts

    def take(self, *texts: str) -> bool:
        """Skip the next token if it is one of `texts`; return whether it was."""
        if self.next_is(*texts):
            self.at += 1
            return True
        return False

    def require(self, *texts: str) -> None:
        """Skip one of `texts`.

        Raises:
            UnreadableError: The next token is another one.
        """
        if not self.take(*texts):
            raise UnreadableError(f"expected {texts[0]}")

    def descend(self) -> None:
        """Enter a level of nesting.

        Raises:
            UnreadableError: The text is nested too deeply.
        """
        self._depth += 1
        if self._depth > _DEEPEST:
            raise UnreadableError("too deeply nested")

    def ascend(self) -> None:
        """Leave a level of nesting."""
        self._depth -= 1

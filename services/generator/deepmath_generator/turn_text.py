"""Text of a chat's turn as it is sampled, up to its first stop sequence."""

from collections.abc import Callable, Sequence
from typing import Any

from deepmath.dialects.stop_text import StopText
from deepmath_generator.token_decoder import TokenDecoder


class TurnText:
    """Decodes the tokens of a turn and sends their text once it is certain that no stop sequence starts in it."""

    def __init__(
        self, tokenizer: Any, prompt_ids: Sequence[int], stop: Sequence[str], on_text: Callable[[str], None] | None
    ) -> None:
        self._decoder = TokenDecoder.after(tokenizer, prompt_ids)
        self._stop, self._on_text = StopText(stop), on_text

    def feed(self, token_ids: Sequence[int]) -> bool:
        """Read further tokens; return whether a stop sequence is complete. Nothing may be read after that."""
        text, self._decoder = self._decoder.decode(token_ids)
        return self._read(text)

    def end(self) -> bool:
        """Send the rest at the end of the turn; return whether a stop sequence was complete only now."""
        found = self._read(self._decoder.rest())
        if not found:
            self._send(self._stop.flush())
        return found

    def _read(self, text: str) -> bool:
        self._send(self._stop.feed(text))
        return self._stop.found

    def _send(self, text: str) -> None:
        if self._on_text and text:
            self._on_text(text)

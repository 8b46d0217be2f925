"""Text of a chat's turn as it is sampled, up to its first stop sequence."""

from collections.abc import Callable, Sequence
from typing import Any

from deepmath_generator.token_decoder import TokenDecoder


class TurnText:
    """Decodes the tokens of a turn and sends their text once it is certain that no stop sequence starts in it."""

    def __init__(
        self, tokenizer: Any, prompt_ids: Sequence[int], stop: Sequence[str], on_text: Callable[[str], None] | None
    ) -> None:
        self._decoder = TokenDecoder.after(tokenizer, prompt_ids)
        self._stop, self._on_text = stop, on_text
        self._withheld = ""  # may contain the start of a stop sequence
        self._longest = max((len(text) for text in stop), default=1) - 1

    def feed(self, token_ids: Sequence[int]) -> bool:
        """Read further tokens; return whether a stop sequence is complete. Nothing may be read after that."""
        text, self._decoder = self._decoder.decode(token_ids)
        return self._read(text, self._longest)

    def end(self) -> bool:
        """Send the rest at the end of the turn; return whether a stop sequence was complete only now."""
        return self._read(self._decoder.rest(), 0)

    def _read(self, text: str, keep: int) -> bool:
        text = self._withheld + text
        found = [start for stop in self._stop if (start := text.find(stop)) >= 0]
        certain = min(found) if found else max(0, len(text) - keep)
        if self._on_text and certain:
            self._on_text(text[:certain])
        self._withheld = text[certain:]
        return bool(found)

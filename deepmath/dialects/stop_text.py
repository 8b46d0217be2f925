"""Stop sequences in text that arrives in pieces, which may be cut anywhere. Takes time linear in the text."""

from collections.abc import Sequence


class StopText:
    """Passes text on, up to the first occurrence of a stop sequence."""

    def __init__(self, stop: Sequence[str]) -> None:
        self.found = False
        """Whether a stop sequence is complete. Nothing may be read after that."""
        self._stop = stop
        self._longest = max((len(text) for text in stop), default=1)
        self._held = ""  # may contain the start of a stop sequence

    def feed(self, text: str) -> str:
        """Return the text in which no stop sequence can start any more."""
        return self._read(text, self._longest - 1)

    def flush(self) -> str:
        """Return the text that is left at the end."""
        return self._read("", 0)

    def _read(self, text: str, keep: int) -> str:
        text = self._held + text
        starts = [start for stop in self._stop if (start := text.find(stop)) >= 0]
        self.found = bool(starts)
        certain = min(starts) if starts else max(0, len(text) - keep)
        self._held = text[certain:]
        return text[:certain]

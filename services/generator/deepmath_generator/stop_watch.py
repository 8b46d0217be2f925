"""Detection of stop sequences in what the model says in a trajectory: outside tool calls and thinking."""

from collections.abc import Sequence

from deepmath.dialects.call_marks import CallMarks
from deepmath.dialects.stop_text import StopText
from deepmath.dialects.turn_splitter import TurnSplitter


class StopWatch:
    """Reads the text of a trajectory, with `thinking` one that starts within thinking."""

    def __init__(self, stop: Sequence[str], marks: CallMarks, thinking: bool) -> None:
        self._stop = stop
        self._splitter = TurnSplitter(marks, thinking)
        self._said = StopText(stop)

    def found(self, text: str) -> bool:
        """Read further text of the model; return whether a stop sequence is complete."""
        for part in self._splitter.feed(text):
            if part.kind == "said":
                self._said.feed(part.text)
                if self._said.found:
                    return True
        return False

    def follow(self, *, thinking: bool) -> None:
        """Note that the model continues after an output, maybe within thinking."""
        self._splitter.follow(thinking=thinking)
        self._said = StopText(self._stop)

"""The text of one choice, as it arrives from the generator, divided into thinking and answer."""

from collections.abc import Iterator, Sequence

from deepmath.dialects.call_marks import CallMarks
from deepmath.dialects.stop_text import StopText
from deepmath.dialects.turn_splitter import TurnPart, TurnSplitter
from deepmath_gateway.openai.turn_events import Said, Thought


class ChoiceText:
    """Yields events for text that arrives in pieces, up to the first stop sequence of the answer.

    White space at the start of the answer is left out.
    """

    def __init__(self, choice: int, marks: CallMarks | None, thinking: bool, stop: Sequence[str] = ()) -> None:
        self._choice, self._stop = choice, stop
        self._splitter = TurnSplitter(marks, thinking)
        self._answer = StopText(stop)
        self._started = False

    def feed(self, text: str) -> Iterator[Said | Thought]:
        """Read further text of the model."""
        yield from self._events(self._splitter.feed(text))

    def pause(self) -> Iterator[Said | Thought]:
        """Note that the model's text is interrupted by code that runs."""
        self._splitter.end_call()
        if not self._answer.found:
            yield from self._said(self._answer.flush())

    def resume(self, *, thinking: bool) -> None:
        """Note that the model continues, maybe within thinking."""
        self._splitter.follow(thinking=thinking)

    def end(self) -> Iterator[Said | Thought]:
        """Yield what is left, with a call that the model did not complete."""
        parts, call = self._splitter.flush()
        yield from self._events(parts)
        if not self._answer.found:
            yield from self._said(self._answer.flush())
        if call.strip():
            yield Thought(self._choice, f"\n{call}")

    def _events(self, parts: Sequence[TurnPart]) -> Iterator[Said | Thought]:
        for part in parts:
            if self._answer.found:
                return
            if part.kind == "thought":
                yield Thought(self._choice, part.text)
            else:
                yield from self._said(self._answer.feed(part.text))

    def _said(self, text: str) -> Iterator[Said]:
        if not self._started:
            text = text.lstrip()
        if text:
            self._started = True
            yield Said(self._choice, text)

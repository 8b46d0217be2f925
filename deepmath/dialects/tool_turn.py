"""The turn of a chat that shows a tool's output, as a model's chat template writes it."""

import re
from dataclasses import dataclass
from typing import Self

from deepmath.dialects.dialect import OutputPiece, Render
from deepmath.errors import InvalidRequest

_CALL, _OUTPUT = "\u2063call\u2063", "\u2063output\u2063"  # stand for contents while the template is rendered
_SPECIAL_TOKEN = re.compile(r"<\|[a-z0-9_]+\|>")


@dataclass(frozen=True)
class ToolTurn:
    """The text that a template writes around an output, from the end of the assistant's turn to the next start."""

    before: str
    after: str

    @classmethod
    def of(cls, render: Render, dialect: str) -> Self:
        """Return the turn of a chat template.

        Raises:
            InvalidRequest: the template does not show outputs of tools.
        """
        messages = [
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": _CALL},
            {"role": "tool", "name": "python", "content": _OUTPUT},
        ]
        try:
            rendered = render(messages)
        except Exception as error:  # templates are programs, and reject messages by raising any exception
            raise InvalidRequest(
                f"the model's chat template rejects outputs of tools ({error}), which the dialect {dialect} needs; "
                "choose another with `--dialect`"
            ) from error
        _, call, rest = rendered.partition(_CALL)
        before, output, after = rest.partition(_OUTPUT)
        if not call or not output:
            raise InvalidRequest(
                f"the model's chat template does not show outputs of tools, which the dialect {dialect} needs; choose "
                "another with `--dialect`"
            )
        if before.endswith('"') and after.startswith('"'):  # Llama 3.1's template writes them as JSON
            before, after = before[:-1], after[1:]
        return cls(before, after)

    def pieces(self, text: str, context: str, ends_of_turn: tuple[str, ...] = ()) -> list[OutputPiece]:
        """Return the turn with the output `text`, after `context`.

        The template's token that ends the assistant's turn is left out if the context ends with it, or with one of
        `ends_of_turn`.
        """
        before = self.before
        if (end := _SPECIAL_TOKEN.match(before)) and context.endswith((end[0], *ends_of_turn)):
            before = before[end.end() :]
        return [OutputPiece(before, True), OutputPiece(text), OutputPiece(self.after, True)]


class ToolTurnReader:
    """Finds the turns of tools in a finished text, between the marks that a family's templates write around outputs."""

    def __init__(self, start: str, end: str) -> None:
        frame = r"(?:\s|<\|[a-z0-9_]+\|>|[a-z]){0,64}?"  # the end of the assistant's turn, and a role
        self._start, self._end = re.compile(frame + start), re.compile(end)
        self._is_last = False

    def read(self, text: str, start: int) -> tuple[str, int] | None:
        """Return the output that begins at `start`, after a call, and where the text after it starts."""
        found = self._start.match(text, start)
        if found is None or self._is_last:
            return None
        end = self._end.search(text, found.end())
        if end is None:
            self._is_last = True
            return None
        return text[found.end() : end.start()], end.end()

"""Rich consoles on which text is only text: no markup, no emoji codes, no highlighting, no control characters."""

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from deepmath.cli.output_streams import raw_stream
from deepmath.printable_text import printable, printable_line


class TextConsole(Console):
    """A console on the standard output or error.

    `line` and `text` make text printable before it is laid out. Whatever else is rendered is made printable in the
    end: only rich's own control sequences reach the terminal as such.
    """

    def __init__(self, stderr: bool = False, width: int | None = None) -> None:
        stream = sys.stderr if stderr else sys.stdout
        super().__init__(file=raw_stream(stream), width=width, markup=False, emoji=False, highlight=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of `renderable`, printable."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def text(content: str, style: str = "", **options: Any) -> Text:
    """Return `content`, any number of lines, as a renderable. `options` are those of `rich.text.Text`."""
    return Text(printable(content), style, **options)


def line(content: object, style: str = "", **options: Any) -> Text:
    """Return `content` on one line, such as the cell of a table, as a renderable."""
    return Text(printable_line(content), style, **options)

"""Draws the output of a terminal command as an SVG file, with its colours.

It reads standard input: `script -qec "COMMAND" /dev/null | python tools/terminal_picture.py docs/solve.svg TITLE`.
"""

import re
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

_COLUMNS = 92
# rich's own form would load fonts from the web.
_FONT_FACE = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def main(target: Path, title: str) -> None:
    """Write the picture of stdin to `target`."""
    console = Console(record=True, width=_COLUMNS, file=StringIO())
    for line in sys.stdin.read().replace("\r\n", "\n").splitlines():
        console.print(Text.from_ansi(line.rpartition("\r")[2]))
    svg = _FONT_FACE.sub("", console.export_svg(title=title))
    target.write_text(re.sub(r"[ \t]+\n", "\n", svg), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

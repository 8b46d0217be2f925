r"""Text of a model, a dataset, a file or a server in a form that a terminal only prints.

A terminal obeys control characters: it writes the clipboard, moves the cursor, reports to the standard input, reverses
the direction of text. `printable` makes every one of them visible as Python writes it (`\x1b`, `\u202e`), and so do
`printable_line`, `json_line` and `markdown_text`. Whatever leaves for a person's eyes goes through one of the four: see
`tests/architecture/test_sinks.py`.
"""

import json
import re
import sys
from typing import Any

MAX_LINE_CHARACTERS = 16_384
"""Of one line of a log or an error message."""

# Unicode's categories Cc, Cf, Cs, Zl and Zp: controls (C0, DEL, C1), invisible format characters (bidi, zero width,
# tags), lone surrogates, line and paragraph separators. tests/test_printable_text.py compares the list with Unicode.
_STEERING = (
    r"\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\ud800-\udfff\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_IN_LINE = re.compile(f"[{_STEERING}]")
_IN_TEXT = re.compile(rf"(?![\t\n])[{_STEERING}]")
# Punctuation with a meaning in GitHub Markdown, but not the brackets of an interval. Without `://` and `www.` GitHub
# links no address; without `:` before a letter it shows no emoji; without `@` before one it names no user.
_MARKDOWN = re.compile(r"[\\`*_|~$!#]|\[(?![-\d])|\](?=[(\[:])|:(?=//|[a-z+-])|(?<=www)\.|@(?=[a-z])", re.IGNORECASE)
# What starts a list, a quotation or a heading at the start of a line.
_LIST = re.compile(r"^(\d*)(>|[-+.)=](?=[\s=-]|$))")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: str) -> str:
    r"""Return `text` with every control and invisible character escaped, except newlines and tabs.

    A line may end with `\r\n`. Linear in time; the result is at most ten times as long.
    """
    return _IN_TEXT.sub(_escape, text.replace("\r\n", "\n"))


def printable_line(text: object, limit: int = MAX_LINE_CHARACTERS) -> str:
    r"""Return `str(text)` on one line: newlines and tabs are escaped too. More than `limit` characters are cut."""
    whole = str(text)
    line = _IN_LINE.sub(_escape, whole[:limit])
    return line if len(whole) <= limit else f"{line}... ({len(whole) - limit} more characters)"


def json_line(value: Any, ascii_only: bool = False) -> str:
    r"""Return `value` as JSON on one line, with control and invisible characters as `\u` escapes: the same value."""
    return _IN_LINE.sub(_escape_in_json, json.dumps(value, ensure_ascii=ascii_only))


def markdown_text(text: str) -> str:
    """Return `text` on one line of GitHub Markdown that renders as this text: no link, image, HTML, code or formula."""
    escaped = _MARKDOWN.sub(r"\\\g<0>", printable_line(" ".join(text.split())))
    return _LIST.sub(r"\1\\\2", escaped).replace("&", "&amp;").replace("<", "&lt;")


def print_error(program: str, message: object) -> None:
    """Print `message` on one line of stderr, after the name of the program."""
    print(f"{program}: {printable_line(message)}", file=sys.stderr, flush=True)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if short := _SHORT.get(character):
        return short
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escape_in_json(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1] if match[0] != "\x7f" else "\\u007f"

"""Texts as a hostile model, dataset or server writes them: terminal controls, forged lines, and markup."""

import unicodedata

STEERING = {
    "clipboard": "\x1b]52;c;cm0gLXJmIC8K\x07",  # OSC 52 writes the clipboard
    "title": "\x1b]0;owned\x1b\\",
    "link": "\x1b]8;;http://127.0.0.1:1/\x1b\\click\x1b]8;;\x1b\\",
    "colour": "\x1b[31mred\x1b[0m",
    "clear": "\x1b[2J\x1b[H",
    "report": "\x1b[6n\x1b[c",  # the terminal answers on the standard input
    "device": '\x1bP$q"p\x1b\\',
    "c1": "\x9b31m\x9d0;owned\x9c\x84\x90q\x9c",
    "overprint": "wrong\rright",
    "backspace": "no\x08\x08yes",
    "bell": "\x07\x7f\x0b\x0c\x0e\x0f",
    "nul": "a\x00b",
    "bidi": "\u202eevil\u202c \u2066x\u2069 \u200fy\u061c",
    "invisible": "1\u200b2\u2060\ufeff3\u00ad\U000e0041",
    "separators": "a\u2028b\u2029c\x85d\x1cd\x1ed",
}
FORGED_LINES = {
    "newline": "a\n2026-01-01 00:00:00,000 ERROR root: forged",
    "json": 'a\n{"level": "error", "message": "forged"}',
}
MARKUP = {
    "inst": "[INST] What? [/INST]",
    "closing": "[/] [/red] [bold]",
    "style": "[red on blue]x[/red on blue] [link=http://127.0.0.1:1/]y[/link]",
    "event": "[@click=app.bell]x[/]",
    "emoji": ":smile: :bomb: :warning-emoji:",
    "highlight": "'quoted' 123 http://127.0.0.1:1/ /etc/passwd True",
    "percent": "%s %d %(name)s {0} {name} {",
    "table": "| a | b |\n|---|---|",
    "image": "![x](http://127.0.0.1:1/i.png) <img src=http://127.0.0.1:1/j.png>",
    "script": "</script><script>alert(1)</script><!--",
    "code": "``` `x` ~~~",
    "mathtext": "$\\frac$ $x_{$",
    "backslash": "\\ \\x1b \\[",
}
TEXTS = STEERING | FORGED_LINES | MARKUP
SURROGATE = "a\udc80\ud800"
"""Neither in protobuf nor in a valid file, but in arguments and file names."""


def steers(text: str, kept: str = "\n\t") -> set[str]:
    """Return the characters of `text` that could steer a terminal or reorder its text."""
    return {one for one in text if one not in kept and unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")}

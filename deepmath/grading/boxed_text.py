r"""The plain text in a box: what `\boxed{\text{red\_1}}` shows, for scorers that compare characters."""

import re

_WRAPPER = r"\\(?:text(?:bf|it|tt|rm|sf)?|math(?:bf|it|tt|rm|sf)|operatorname|mbox)\s*\{"
_TOKEN = re.compile(rf"{_WRAPPER}|\\.|[{{}}]", re.DOTALL)
_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_SPACES = re.compile(r"\\(?:quad|qquad|,|;|:|!| )|~")
_SYMBOLS = {
    r"\times": "*",
    r"\cdot": "*",
    r"\div": "/",
    r"\left": "",
    r"\right": "",
    r"\rightarrow": "->",
    r"\to": "->",
    r"\backslash": "\\",
}
_SYMBOL = re.compile(r"\\(?:times|cdot|div|left|rightarrow|right|to|backslash)(?![A-Za-z])")
_ESCAPED = re.compile(r"\\([{}$%&#_])")


def plain_text(boxed: str) -> str:
    r"""Return the content of a box without LaTeX: macros of text, escapes, `\\` for a new line, and simple fractions.

    A text without a backslash and without dollar signs around it is returned as it is. Linear in its length.
    """
    text = _without_delimiters(boxed)
    if "\\" not in text:
        return text
    text = _without_wrappers(text)
    text = "\n".join(line.strip(" \t").removeprefix("\n") for line in text.split(r"\\"))
    text = _SYMBOL.sub(lambda found: _SYMBOLS[found[0]], _SPACES.sub(" ", _FRACTION.sub(r"\1/\2", text)))
    return _ESCAPED.sub(r"\1", text).strip()


def _without_delimiters(text: str) -> str:
    for start, end in _DELIMITERS:
        if len(text) > len(start) + len(end) and text.startswith(start) and text.endswith(end):
            return text[len(start) : -len(end)].strip()
    return text


def _without_wrappers(text: str) -> str:
    r"""Return `text` with `\text{...}` and its like replaced by their content."""
    kept: list[str] = []
    wrapped: list[bool] = []  # of each open brace: whether it belongs to a wrapper
    at = 0
    for token in _TOKEN.finditer(text):
        kept.append(text[at : token.start()])
        at = token.end()
        if token[0] == "}" and wrapped:
            kept.append("" if wrapped.pop() else "}")
            continue
        is_wrapper = len(token[0]) > 2
        if token[0] == "{" or is_wrapper:
            wrapped.append(is_wrapper)
        kept.append("" if is_wrapper else token[0])
    return "".join(kept) + text[at:]

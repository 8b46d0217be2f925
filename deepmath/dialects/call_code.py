r"""Python source of a tool call, from the text that a model wrote between its marks.

Models write more than the code: a Markdown fence around it, the word `python` before it, indentation, blank lines. The
rules, in order; `docs/generator.md` has them as a table:

1. Line ends become `\n`.
2. If there are fenced blocks of Python, these are the code, one after the other. A fence may lack its end or its
   start. A fence within a triple-quoted string is part of the string.
3. A first line that only names the language is dropped.
4. Common indentation is removed, then that of the first line, which could only be an error.

Without any of these the text is the code, unchanged except for blank lines at both ends. Nothing is parsed as Python or
evaluated here. It takes time linear in the text.
"""

from itertools import takewhile

_LANGUAGES = frozenset({"python", "python3", "py", "py3", "ipython", "ipython3", "sage", "code", "tool_code"})
_QUOTES = ('"""', "'''")
_SHORTEST_FENCE = 3


def python_source(call: str) -> str:
    """Return the code of a tool call with the text `call`; empty if there is none."""
    lines = call.replace("\r\n", "\n").split("\n")
    return _strip_indentation(_without_language(_fenced_code(lines) or lines))


def _fenced_code(lines: list[str]) -> list[str]:
    """Return the lines within fenced blocks of Python; none if there is no such block."""
    code: list[str] = []
    block: list[str] | None = None  # the open block
    fence = language = ""  # of the open block
    quotes = _OpenQuotes()
    last = max((number for number, line in enumerate(lines) if line.strip()), default=0)
    for number, line in enumerate(lines):
        found, info = ("", "") if quotes.any else _fence(line)
        if block is None and found:
            block, fence, language = [], found, info
            if number == last and not info and not code:
                return lines[:number]  # the end of a block that started before the call
        elif block is not None and found.startswith(fence) and not info:
            code += _block_code(block, language)
            block = None
        else:
            quotes.read(line)
            if block is not None:
                block.append(line)
    return code + _block_code(block or [], language)


def _block_code(block: list[str], language: str) -> list[str]:
    is_python = not language or language in _LANGUAGES
    return _strip_indentation(block).split("\n") if is_python and any(map(str.strip, block)) else []


class _OpenQuotes:
    """Whether a line starts within a triple-quoted string, by the parity of the quotes before it."""

    def __init__(self) -> None:
        self._open = dict.fromkeys(_QUOTES, False)

    def read(self, line: str) -> None:
        for quote in _QUOTES:
            self._open[quote] ^= line.count(quote) % 2 == 1

    @property
    def any(self) -> bool:
        return any(self._open.values())


def _fence(line: str) -> tuple[str, str]:
    """Return the backticks or tildes of a fence and the language after them, or two empty strings."""
    text = line.strip()
    mark = text[:1]
    if mark not in ("`", "~"):
        return "", ""
    info = text.lstrip(mark)
    length = len(text) - len(info)
    words = info.strip(" {}.").split(maxsplit=1)
    if length < _SHORTEST_FENCE or "`" in info or (len(words) > 1 and "=" not in words[1]):
        return "", ""
    return mark * length, words[0].lower() if words else ""


def _without_language(lines: list[str]) -> list[str]:
    """Drop a first line that only names the language, if there is code after it."""
    blank = sum(1 for _ in takewhile(lambda line: not line.strip(), lines))
    named = blank < len(lines) and lines[blank].strip().lower() in _LANGUAGES
    return lines[blank + 1 :] if named and any(map(str.strip, lines[blank + 1 :])) else lines


def _strip_indentation(lines: list[str]) -> str:
    if margin := _margin(lines):
        lines = [line.removeprefix(margin) if line.strip() else "" for line in lines]
    code = "\n".join(lines)
    first = next((line for line in lines if line.strip()), "")
    if first[:1] in (" ", "\t"):
        code = code.lstrip()
    return code.strip("\n") if code.strip() else ""


def _margin(lines: list[str]) -> str:
    """Return the indentation that all lines have that are not blank."""
    margins = [line[: len(line) - len(line.lstrip(" \t"))] for line in lines if line.strip()]
    pairs = zip(min(margins, default=""), max(margins, default=""), strict=False)  # the others lie between these two
    return "".join(low for low, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

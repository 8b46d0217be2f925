"""Answers to the question of a front end in a terminal whether a cell is complete, or another line follows.

IPython's own answer takes quadratic time. Here the standard library's `codeop` parses short cells.
"""

import codeop

_MAX_CHARACTERS = 4096
_INDENT = 4


def completeness(code: str) -> dict[str, str]:
    """Return the content of an `is_complete_reply`: `unknown` for long cells, and for those that no parser takes."""
    if len(code) > _MAX_CHARACTERS:
        return {"status": "unknown"}
    try:
        complete = codeop.compile_command(code, "<cell>", "exec") is not None and not _is_open_block(code)
    except (SyntaxError, ValueError, OverflowError):
        return {"status": "invalid"}
    except (RecursionError, MemoryError):
        return {"status": "unknown"}
    return {"status": "complete"} if complete else {"status": "incomplete", "indent": _next_indent(code)}


def _is_open_block(code: str) -> bool:
    """Whether the code is one statement whose block ends with an empty line, as in Python's own console."""
    try:
        return codeop.compile_command(code, "<cell>", "single") is None
    except SyntaxError:  # several statements
        return False


def _next_indent(code: str) -> str:
    last = code.rstrip("\n").rpartition("\n")[2]
    indent = len(last) - len(last.lstrip(" "))
    return " " * (indent + _INDENT if last.rstrip().endswith(":") else indent)

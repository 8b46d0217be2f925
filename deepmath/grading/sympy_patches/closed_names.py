"""Check of every name in a parsed expression, before anything evaluates it.

The parser sees only text of the closed alphabet (`latex_alphabet`), so no other name can occur. This is the second lock
on the same door: sympy gives a symbol any name, and some of its functions print names into source code.
"""

import re
from typing import Any

# A letter, a Greek letter or a word of ours, with an accent, a subscript or primes: x, d\theta, bar{x}_{12}, \text{w1}.
# The last alternative is the direction of a limit.
_NAME = re.compile(
    r"d?\\?[A-Za-z]{1,12}[0-9]{0,2}(?:\{[A-Za-z0-9 ]{1,24}\})?(?:_[A-Za-z0-9]{1,12}|_\{[A-Za-z0-9]{1,12}\})?'{0,4}"
    r"|[0-9]{1,8}|[+-]{1,2}"
)


class ForeignNameError(Exception):
    """A parsed expression has a name outside the closed alphabet."""


def check_parsed_names() -> None:
    """Make math-verify's parser reject expressions with names outside the closed alphabet."""
    from math_verify import parser

    original = parser.latex2sympy

    def latex2sympy(*arguments: Any, **options: Any) -> Any:
        expression = original(*arguments, **options)
        check_names(expression)
        return expression

    vars(parser)["latex2sympy"] = latex2sympy


def check_names(expression: Any) -> None:
    """Check the names of all symbols and functions in `expression`.

    Raises:
        ForeignNameError: One is outside the closed alphabet, or `expression` is no expression.
    """
    from sympy import Basic, MatrixBase

    if isinstance(expression, MatrixBase):
        nodes = list(expression.flat())
    elif isinstance(expression, Basic):
        nodes = [expression]
    else:
        raise ForeignNameError(type(expression).__name__)
    while nodes:
        node = nodes.pop()
        if isinstance(node, MatrixBase):
            nodes.extend(node.flat())
            continue
        for name in _names(node):
            if not _NAME.fullmatch(name):
                raise ForeignNameError("a name outside the closed alphabet")
        nodes.extend(node.args)


def _names(node: Any) -> list[str]:
    from sympy import MatrixSymbol, Symbol
    from sympy.core.function import AppliedUndef
    from sympy.core.symbol import Str

    if isinstance(node, Symbol | Str | MatrixSymbol):
        return [node.name]
    return [type(node).__name__] if isinstance(node, AppliedUndef) else []

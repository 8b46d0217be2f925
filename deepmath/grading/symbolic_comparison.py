"""Symbolic comparison of two answers in LaTeX, with math-verify and sympy.

It runs only inside a sandbox of the verifier: math-verify and sympy are no parsers for hostile text.

Where math-verify treats different answers as equal, this module tells them apart: an incorrect answer that passes does
more harm than a correct one that fails.
"""

import re
from contextlib import suppress
from dataclasses import replace
from typing import Any

# Two adjacent numbers are neither a product nor a sum, as math-verify assumes, except in \frac 1 2 and \log_2 8.
_SIDE_BY_SIDE = re.compile(r"(?<!frac)(?<!frac\s)(?<![\d_^])\d+\s+\d")
# x \in [0,1] means the same as [0,1], and \{x \mid x>0\} the same as x>0.
_MEMBER = re.compile(
    r"\s*[A-Za-z]\s*\\in(?![A-Za-z])(.*)|\s*\\\{\s*[A-Za-z]\s*(?:[|:]|\\mid(?![A-Za-z]))(.*)\\\}\s*", re.DOTALL
)
_RATIO = re.compile(r"[^:(){}]+(?::[^:(){}]+){2,}")
_BRACES = re.compile(r"\s*\\\{.*\\\}\s*", re.DOTALL)


def compare(gold: str, answer: str | None = None) -> bool | None:
    """Return whether `answer` equals `gold`; without an answer, whether the gold can be parsed.

    Both are LaTeX without delimiters and units. None means that the gold is not mathematics.
    """
    from math_verify import verify

    expected = _parse(gold)
    if expected is None or answer is None:
        return None if expected is None else True
    given = _parse(answer)
    if given is None:
        return False
    if not verify(expected, given, allow_set_relation_comp=True, timeout_seconds=None):
        return _have_same_solutions(expected, given)
    return not (
        _is_set_against_tuple(gold, expected, given)
        or _is_set_against_tuple(answer, given, expected)
        or _are_different_small_numbers(expected, given)
        or _are_different_unsolvable_equations(expected, given)
    )


def _parse(text: str) -> Any:
    """Return the parsed expression, or None if `text` is not mathematics.

    Only math-verify's LaTeX extraction is used: its fallback takes the first number of what it cannot parse. Its
    removal of units is disabled, because units are letters too: 2t would become 2.
    """
    from math_verify import LatexExtractionConfig, parse
    from sympy import I, Symbol

    if member := _MEMBER.fullmatch(text):
        text = member[1] or member[2]
    if _RATIO.fullmatch(text):
        text = f"({text.replace(':', ',')})"  # 2:1:3 is not a quotient
    text = " ".join(text.split())
    if _SIDE_BY_SIDE.search(text):
        return None
    latex = LatexExtractionConfig()
    latex = replace(latex, normalization_config=replace(latex.normalization_config, units=False))
    found: list[Any] = parse(f"${text}$", [latex], fallback_mode="no_fallback", parsing_timeout=None)
    if not found:
        return None
    # math-verify parses i as a variable, and then drops the assumption that the other variables are real.
    symbols = {
        symbol: I if symbol.name == "i" else Symbol(symbol.name, real=True)
        for symbol in getattr(found[0], "free_symbols", ())
        if symbol.name == "i" or not symbol.is_real
    }
    with suppress(Exception):
        return found[0].subs(symbols) if symbols else found[0]
    return found[0]


def _is_set_against_tuple(text: str, value: Any, other: Any) -> bool:
    r"""Return whether `text` is a set and `other` is not: \{1,2\} and (1,2)."""
    from sympy import FiniteSet, Interval, Tuple

    return (
        isinstance(value, FiniteSet)
        and len(value.args) > 1
        and isinstance(other, Interval | Tuple)
        and bool(_BRACES.fullmatch(text))
    )


def _are_different_small_numbers(expected: Any, given: Any) -> bool:
    """Return whether these are different numbers that agree only because they are rounded to six decimal places."""
    with suppress(Exception):
        size, distance = abs(complex(expected)), abs(complex(expected) - complex(given))
        return size < 0.01 and distance > size / 10_000
    return False  # not numbers


def _are_different_unsolvable_equations(expected: Any, given: Any) -> bool:
    """Return whether these equations differ and count as equal only for lack of solutions: x^2=-1 and x^2=-4."""
    from math_verify import verify
    from sympy import Eq, solve

    if not (isinstance(expected, Eq) and isinstance(given, Eq)) or expected == given:
        return False
    with suppress(Exception):
        if not expected.free_symbols and not given.free_symbols:
            return not verify(expected.rhs, given.rhs, timeout_seconds=None)
        if solve(expected, expected.free_symbols):
            return False
        difference, other = expected.lhs - expected.rhs, given.lhs - given.rhs
        return not verify([difference, -difference], other, timeout_seconds=None)
    return True


def _have_same_solutions(expected: Any, given: Any) -> bool:
    """Return whether both are inequalities in one variable that hold for the same numbers."""
    from sympy import And, Eq, Intersection
    from sympy.core.relational import Relational

    solutions = []
    for value in (expected, given):
        parts = value.args if isinstance(value, And) else (value,)
        if not all(isinstance(part, Relational) and not isinstance(part, Eq) for part in parts):
            return False
        solutions.append(parts)
    if expected.free_symbols != given.free_symbols or len(expected.free_symbols) != 1:
        return False
    with suppress(Exception):
        one, other = (Intersection(*(part.as_set() for part in parts)) for parts in solutions)
        return bool(one == other)
    return False

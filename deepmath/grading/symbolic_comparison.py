"""Comparison of two answers in LaTeX that takes more than exact arithmetic.

It runs only inside a sandbox, because numerical evaluation and math-verify may take any time and memory on hostile
text. Answers in our grammar are compared by their structure and by numbers of many digits. math-verify reads what is
left: integrals, limits, derivatives and infinite sums.
"""

from cmath import isfinite
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from deepmath.grading.answer_equality import AnswerEquality
from deepmath.grading.answer_nodes import Node, Operation, names, walk
from deepmath.grading.answer_normalization import normalize
from deepmath.grading.answer_parser import parse_answer
from deepmath.grading.expression_equality import ExpressionEquality
from deepmath.grading.numeric_arithmetic import NumericArithmetic

_LIBRARY_COMMANDS = ("\\int", "\\lim", "\\sum", "\\prod", "\\frac{d", "\\partial")
_RELATIVE_ERROR = 1e-12


def compare(gold: str, answer: str | None = None) -> bool | None:
    """Return whether `answer` equals `gold`; without an answer, whether the gold can be read.

    Both are LaTeX without delimiters and units. None means that the gold is not mathematics.
    """
    gold = normalize(gold)
    expected = parse_answer(gold)
    if answer is None:
        return True if expected is not None or _library_value(gold) is not None else None
    answer = normalize(answer)
    given = parse_answer(answer)
    if expected is not None and given is not None:
        same = _compare_trees(expected, given)
        if same is None and any("\\infty" in text and ("\\sum" in text or "\\prod" in text) for text in (gold, answer)):
            return _compare_by_library(gold, answer, expected)
        if same is None and not names(expected) and not _compare_trees(expected, expected):
            return None  # the gold cannot be evaluated
        return bool(same)
    return _compare_by_library(gold, answer, expected)


def _compare_trees(expected: Node, given: Node) -> bool | None:
    """Compare trees, if need be with either base of a logarithm that is written without one."""
    same = AnswerEquality(ExpressionEquality(NumericArithmetic())).equal(expected, given)
    if same is False and any(map(_has_bare_logarithm, (expected, given))):
        return AnswerEquality(ExpressionEquality(NumericArithmetic("e"))).equal(expected, given)
    return same


def _has_bare_logarithm(node: Node) -> bool:
    return any(isinstance(one, Operation) and one.operator == "log" and len(one.operands) == 1 for one in walk(node))


def _compare_by_library(gold: str, answer: str, expected: Node | None) -> bool | None:
    """Compare numbers of which math-verify evaluates at least one. It takes many unequal sets for equal."""
    value = _library_value(gold)
    if value is None:
        return None if expected is None else False
    other = _library_value(answer)
    if other is None:
        return False
    with suppress(Exception):
        one, two = complex(value), complex(other)
        if not (isfinite(one) and isfinite(two)):
            return False
        return abs(one - two) <= _RELATIVE_ERROR * max(abs(one), abs(two)) and (one != 0 or two == 0)
    return False


def _library_value(text: str) -> Any:
    """Return the number that math-verify reads in `text`, or None if it reads none."""
    if not any(command in text for command in _LIBRARY_COMMANDS) and parse_answer(text) is None:
        return None
    from dataclasses import replace

    from math_verify import LatexExtractionConfig, parse

    latex = LatexExtractionConfig()
    latex = replace(latex, normalization_config=replace(latex.normalization_config, units=False))
    read: Callable[..., list[Any]] = parse
    found = read(f"${text}$", [latex], fallback_mode="no_fallback", parsing_timeout=None)
    if not found or isinstance(found[0], str):
        return None
    with suppress(Exception):
        value = found[0].doit() if hasattr(found[0], "doit") else found[0]
        return value.evalf(30)
    return None

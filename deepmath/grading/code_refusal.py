"""Audit hook against code in answers, for scorers that evaluate them: formulas and literals run, programs do not.

Theory of operation. Several scorers of reasoning-gym call `eval` on an answer, or sympy's `parse_expr`, which does. An
answer that runs code in their process could name its own score. `eval` reports the code object that it is about to run
(audit event "exec"), whatever library calls it. The hook lets a code object pass only if all names in it are names of
formulas: no attribute can be read, no function is made, and nothing can be called but what `formula_names` lists. A
text in a formula, `Integral("...")`, is parsed by sympy and comes through the same gate. A hook cannot be removed.
"""

import string
import sys
from types import CodeType, FrameType
from typing import Any

# Callers whose code is a library's own: they make it of its definitions, not of an answer's text.
_COMPILERS = ("importlib", "sympy.polys.monomials", "collections", "dataclasses", "functools")
# `parse_expr` runs it to fill the namespace of a formula.
_STAR_IMPORT = compile("from sympy import *", "<string>", "exec")
_BUILTINS = ("abs", "max", "min", "pow", "round", "sum")
_FUNCTIONS = (
    *("sqrt", "cbrt", "root", "real_root", "expand", "factor", "simplify", "cancel", "together", "apart", "diff"),
    *("integrate", "limit", "summation", "product", "binomial", "factorial", "gcd", "lcm", "ln"),
)


def formula_names() -> frozenset[str]:
    """Return the names that a formula may use: variables of one letter, and what sympy's parser finds for others.

    These are sympy's classes, constants and elementary functions, and a few builtins such as `abs`.
    """
    import sympy  # only the sandbox has it loaded

    def belongs(name: str, value: object) -> bool:
        is_class = isinstance(value, type) and issubclass(value, sympy.Basic)
        return is_class or isinstance(value, sympy.Basic) or name in _FUNCTIONS

    known = {name for name in dir(sympy) if not name.startswith("_") and belongs(name, getattr(sympy, name))}
    return frozenset({*known, *_BUILTINS, *string.ascii_letters})


def refuse_code(allowed: frozenset[str]) -> None:
    """Install the hook in this process. `allowed` are the names of formulas, see `formula_names`."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "exec" or _is_formula(arguments[0], allowed):
            return
        frame: FrameType | None = sys._getframe(1)
        caller = frame.f_globals.get("__name__", "") if frame else ""
        if not caller.startswith(_COMPILERS):
            raise PermissionError("the answer contains code, which is not run")

    sys.addaudithook(hook)


def _is_formula(code: object, allowed: frozenset[str]) -> bool:
    if not isinstance(code, CodeType):
        return False
    if all(getattr(code, part) == getattr(_STAR_IMPORT, part) for part in ("co_code", "co_names", "co_consts")):
        return True
    nested = any(isinstance(constant, CodeType) for constant in code.co_consts)
    return not nested and allowed.issuperset(code.co_names)

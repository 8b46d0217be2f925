"""Numbers without source code.

latex2sympy2_extended passes the digits of a number to `sympy.Number`, which passes a text to sympy's parser, which
evaluates it as Python source with every builtin function in reach, and imports all names of sympy for that. Here digits
become numbers directly, ten times faster. sympy's parser knows fractions, of which sympy's own tables are written, and
refuses anything else.
"""

from fractions import Fraction
from typing import Any

from deepmath.grading.sympy_patches.loaded_functions import replace_function


def parse_numbers_without_source() -> None:
    """Make math-verify's parser create numbers itself, and sympy's parser refuse anything but fractions."""
    from latex2sympy2_extended import latex2sympy2
    from sympy.parsing import sympy_parser
    from sympy.physics import units  # noqa: F401 - simplify imports it, and it parses the names of its prefixes

    vars(latex2sympy2)["convert_number"] = _grouped_number
    latex2sympy2._Latex2Sympy.parse_number = lambda _, text: number(text)
    replace_function(sympy_parser.parse_expr, _fraction)


def number(text: str) -> Any:
    """Return the number that `text` spells, with commas between thousands: an Integer, or a Float of its precision.

    Raises:
        ValueError: It is not a number.
    """
    from sympy import Float, Integer

    digits = text.replace(",", "")
    if not (digits.isascii() and digits[:1] in ".0123456789"):
        raise ValueError("not a number")
    return Integer(int(digits)) if digits.isdigit() else Float(digits)


def _grouped_number(text: str) -> Any:
    # 0,111 has a decimal comma.
    return number((text.replace(",", ".") if text.startswith("0") else text).replace(" ", ""))


def _fraction(text: str, *_: Any, **__: Any) -> Any:
    from sympy import Rational

    value = Fraction(text)  # ValueError
    return Rational(value.numerator, value.denominator)

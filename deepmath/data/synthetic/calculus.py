"""Calculus: derivatives, integrals, extrema."""

from fractions import Fraction

from deepmath.data.synthetic.problem_family import Parameters, ProblemFamily, uniform
from deepmath.data.synthetic.worked_steps import short_difference, short_product, short_quotient, short_sum


def _slope(a: int, b: int, c: int, t: int) -> int:
    return 3 * a * t * t + 2 * b * t + c


def _derivative(a: int, b: int, c: int, t: int) -> str:
    slope = 3 * a * t + 2 * b
    return (
        f"{short_product(a, 3)}{short_product(b, 2)}{short_product(3 * a, t)}{short_sum(3 * a * t, 2 * b)}"
        f"{short_product(slope, t)}{short_sum(slope * t, c)}"
    )


def _area(a: int, b: int, t: int) -> Fraction:
    return Fraction(a * t**3, 3) + Fraction(b * t**2, 2)


def _integer(parameters: Parameters) -> bool:
    """Return whether the coefficients of the antiderivative are integers."""
    return parameters["a"] % 3 == 0 and parameters["b"] % 2 == 0


def _integral(a: int, b: int, t: int) -> str:
    if a % 3 == 0 and b % 2 == 0:
        cubic, quadratic, divisor = a // 3, b // 2, 1
        text = f"{short_quotient(a, 3)}{short_quotient(b, 2)}"
    else:
        cubic, quadratic, divisor = 2 * a, 3 * b, 6
        text = f"{short_product(a, 2)}{short_product(b, 3)}"
    factor = cubic * t + quadratic
    text += (
        f"{short_product(cubic, t)}{short_sum(cubic * t, quadratic)}{short_product(factor, t)}"
        f"{short_product(factor * t, t)}"
    )
    return text + (short_quotient(factor * t * t, divisor) if divisor > 1 else "")


def _minimum(b: int, c: int) -> str:
    half = b // 2
    square = half * half
    text = f"{short_quotient(b, 2)}{short_product(half, half)}"
    if c >= square:
        return text + short_difference(c, square)
    return f"{text}{short_difference(square, c)}So {c}-{square}={c - square}. "


FAMILIES = (
    ProblemFamily(
        name="derivative",
        wordings=(
            "What is the derivative of {a}x^3 + {b}x^2 + {c}x at x = {t}?",
            "If f(x) = {a}x^3 + {b}x^2 + {c}x, find f'({t}).",
            "Find the slope of the tangent to y = {a}x^3 + {b}x^2 + {c}x at x = {t}.",
            "Differentiate {a}x^3 + {b}x^2 + {c}x and evaluate at {t}.",
        ),
        draws=(
            uniform(a=(2, 4), b=(2, 6), c=(2, 20), t=(2, 3), where=lambda p: _slope(**p) < 100),
            uniform(a=(2, 9), b=(2, 9), c=(2, 30), t=(4, 9)),
            uniform(a=(2, 19), b=(2, 19), c=(2, 99), t=(12, 60)),
        ),
        answer=_slope,
        code=("from sympy import *\nx = symbols('x')\ndiff({a}*x**3 + {b}*x**2 + {c}*x).subs(x, {t})",),
        working=_derivative,
    ),
    ProblemFamily(
        name="integral",
        wordings=(
            "What is the integral of {a}x^2 + {b}x from 0 to {t}?",
            "Integrate {a}x^2 + {b}x over the interval from 0 to {t}.",
            "Find the area under y = {a}x^2 + {b}x between x = 0 and x = {t}.",
            "Compute the definite integral of {a}x^2 + {b}x, x from 0 to {t}.",
        ),
        draws=(
            # The antiderivative has integer coefficients, then only the answer is an integer.
            uniform(a=(3, 18), b=(2, 20), t=(2, 3), where=lambda p: _integer(p) and _area(**p) < 100),
            uniform(a=(3, 27), b=(2, 18), t=(5, 9), where=_integer),
            uniform(a=(2, 19), b=(2, 19), t=(4, 20), where=lambda p: not _integer(p) and _area(**p).denominator == 1),
        ),
        answer=_area,
        code=("from sympy import *\nx = symbols('x')\nintegrate({a}*x**2 + {b}*x, (x, 0, {t}))",),
        working=_integral,
    ),
    ProblemFamily(
        name="minimum",
        wordings=(
            "What is the minimum value of x^2 - {b}x + {c}?",
            "Find the smallest value that x^2 - {b}x + {c} takes for real x.",
            "For which y is ({b}/2, y) the vertex of y = x^2 - {b}x + {c}?",
            "How small can x^2 - {b}x + {c} become?",
        ),
        draws=(
            uniform(b=(4, 18), c=(2, 40), where=lambda p: p["b"] % 2 == 0),
            uniform(b=(22, 60), c=(2, 99), where=lambda p: p["b"] % 2 == 0),
            uniform(b=(102, 998), c=(2, 999), where=lambda p: p["b"] % 2 == 0),
        ),
        answer=lambda b, c: c - b * b // 4,
        code=("from sympy import *\nx = symbols('x')\nf = x**2 - {b}*x + {c}\nf.subs(x, solve(diff(f))[0])",),
        working=_minimum,
    ),
)

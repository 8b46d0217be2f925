"""Calculus: derivatives, integrals, extrema."""

from fractions import Fraction

from deepmath.data.synthetic.problem_family import ProblemFamily, uniform
from deepmath.data.synthetic.worked_steps import add, column_add, divide, multiply, subtract


def _derivative(a: int, b: int, c: int, t: int) -> str:
    square = t * t
    cubic, quadratic = 3 * a * square, 2 * b * t
    return (
        f"The derivative of {a}x^3 is {3 * a}x^2, of {b}x^2 it is {2 * b}x, of {c}x it is {c}. "
        f"{multiply(t, t)}{multiply(square, 3 * a)}{multiply(t, 2 * b)}{column_add(cubic, quadratic)}"
        f"{column_add(cubic + quadratic, c)}"
    )


def _integral(a: int, b: int, t: int) -> str:
    cubic, quadratic = a * t**3, b * t**2
    doubled, tripled = 2 * cubic, 3 * quadratic
    return (
        f"The integral is {a}x^3/3 + {b}x^2/2. {multiply(t, t)}{multiply(t * t, t)}{multiply(t**3, a)}"
        f"{multiply(t * t, b)}Over 6: {cubic}*2={doubled} and {quadratic}*3={tripled}. {add(doubled, tripled)}"
        f"{divide(doubled + tripled, 6)}"
    )


def _minimum(b: int, c: int) -> str:
    half = b // 2
    square = half * half
    rest = subtract(c, square) if c >= square else subtract(square, c) + f"So {c}-{square}={c - square}. "
    return (
        f"The derivative 2x - {b} is 0 at half of {b}. {divide(b, 2)}So x is {half}. {multiply(half, half)}"
        f"{multiply(b, half)}{square}-{b * half}={square - b * half}. Then {c}{square - b * half}={c - square}. {rest}"
    )


FAMILIES = (
    ProblemFamily(
        name="derivative",
        wordings=(
            "What is the derivative of {a}x^3 + {b}x^2 + {c}x at x = {t}?",
            "If f(x) = {a}x^3 + {b}x^2 + {c}x, find f'({t}).",
            "Find the slope of the tangent to y = {a}x^3 + {b}x^2 + {c}x at x = {t}.",
            "Differentiate {a}x^3 + {b}x^2 + {c}x and evaluate at {t}.",
        ),
        draws=(uniform(a=(2, 9), b=(2, 9), c=(2, 30), t=(2, 15)),),
        answer=lambda a, b, c, t: 3 * a * t * t + 2 * b * t + c,
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
            uniform(
                a=(2, 12),
                b=(2, 12),
                t=(3, 15),
                where=lambda p: (2 * p["a"] * p["t"] ** 3 + 3 * p["b"] * p["t"] ** 2) % 6 == 0,
            ),
        ),
        answer=lambda a, b, t: Fraction(a * t**3, 3) + Fraction(b * t**2, 2),
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
        draws=(uniform(b=(6, 60), c=(2, 99), where=lambda p: p["b"] % 2 == 0),),
        answer=lambda b, c: c - b * b // 4,
        code=("from sympy import *\nx = symbols('x')\nf = x**2 - {b}*x + {c}\nf.subs(x, solve(diff(f))[0])",),
        working=_minimum,
    ),
)

"""Algebra: equations, systems, polynomials."""

from fractions import Fraction
from math import isqrt
from random import Random

from deepmath.data.synthetic.problem_family import Draw, Parameters, ProblemFamily, uniform
from deepmath.data.synthetic.worked_steps import short_difference, short_product, short_quotient, short_sum

Bounds = tuple[int, int]
"""The least and the largest number that may be drawn."""


def _draw_linear_equation(a: Bounds, x: Bounds, b: Bounds) -> Draw:
    """Return a function that draws an equation with solution `x`."""

    def draw(random: Random) -> Parameters:
        factor, solution, summand = random.randint(*a), random.randint(*x), random.randint(*b)
        return {"a": factor, "b": summand, "c": factor * solution + summand}

    return draw


def _linear_equation(a: int, b: int, c: int) -> str:
    x = (c - b) // a
    text = f"{short_difference(c, b)}{short_quotient(c - b, a)}So x is {x}. "
    if a > 12:
        text += f"Check it. {short_product(x, a)}{short_sum(a * x, b)}So x is {x}. "
    return text


def _draw_quadratic(small: Bounds, large: Bounds) -> Draw:
    """Return a function that draws an equation with two distinct roots."""

    def draw(random: Random) -> Parameters:
        root = random.randint(*small)
        other = random.randint(max(root + 1, large[0]), large[1])
        return {"s": root + other, "p": root * other}

    return draw


def _larger_root(s: int, p: int) -> int:
    return (s + isqrt(s * s - 4 * p)) // 2


def _quadratic(s: int, p: int) -> str:
    large = _larger_root(s, p)
    trials = ", ".join(f"{k}*{s - k}={k * (s - k)}" for k in range(1, s - large + 1))
    return f"The roots add up to {s}: {trials}. The larger root is {large}. "


def _draw_system(factors: Bounds, x: Bounds, *, same_y: bool) -> Draw:
    """Return a function that draws a system with factors and `x` in the given bounds.

    The factors of `y` are equal if `same_y`, else distinct.
    """

    def draw(random: Random) -> Parameters:
        while True:
            a, b, c, d = (random.randint(*factors) for _ in range(4))
            d = b if same_y else d
            left, right = random.randint(*x), random.randint(1, 9)
            # The second right-hand side is positive: the wordings have no sign for it.
            if (b == d) == same_y and c * left > d * right:
                return {"a": a, "b": b, "e": a * left + b * right, "c": c, "d": d, "f": c * left - d * right}

    return draw


def _system_x(a: int, b: int, e: int, c: int, d: int, f: int) -> Fraction:
    return Fraction(d * e + b * f, a * d + b * c)


def _system(a: int, b: int, e: int, c: int, d: int, f: int) -> str:
    text = ""
    if b != d:
        text = (
            f"Equation 1 times {d}: {short_product(a, d)}{short_product(e, d)}"
            f"Equation 2 times {b}: {short_product(c, b)}{short_product(f, b)}"
        )
        a, e, c, f = a * d, e * d, c * b, f * b
    x = (e + f) // (a + c)
    return f"{text}Add: {short_sum(a, c)}{short_sum(e, f)}{short_quotient(e + f, a + c)}So x is {x}. "


def _value(a: int, b: int, c: int, t: int) -> int:
    return a * t**3 + b * t**2 + c


def _polynomial(a: int, b: int, c: int, t: int) -> str:
    square = t * t
    cubic, quadratic = a * square * t, b * square
    return (
        f"{short_product(t, t)}{short_product(square, t)}{short_product(square * t, a)}{short_product(square, b)}"
        f"{short_sum(cubic, quadratic)}{short_sum(cubic + quadratic, c)}"
    )


FAMILIES = (
    ProblemFamily(
        name="linear_equation",
        wordings=(
            "Solve {a}x + {b} = {c} for x.",
            "What is x if {a}x + {b} = {c}?",
            "Find the solution of the equation {a}x + {b} = {c}.",
            "The number x satisfies {a}x + {b} = {c}. Find x.",
        ),
        draws=(
            _draw_linear_equation(a=(2, 9), x=(2, 9), b=(2, 18)),
            _draw_linear_equation(a=(3, 9), x=(13, 99), b=(5, 99)),
            _draw_linear_equation(a=(13, 49), x=(21, 99), b=(101, 999)),
        ),
        answer=lambda a, b, c: Fraction(c - b, a),
        code=("from sympy import *\nx = symbols('x')\nsolve({a}*x + {b} - {c})[0]",),
        working=_linear_equation,
    ),
    ProblemFamily(
        name="quadratic_root",
        wordings=(
            "What is the larger root of x^2 - {s}x + {p} = 0?",
            "Find the largest solution of x^2 - {s}x + {p} = 0.",
            "Solve x^2 - {s}x + {p} = 0 and give the larger solution.",
            "The equation x^2 - {s}x + {p} = 0 has two roots. What is the greater one?",
        ),
        draws=(
            _draw_quadratic(small=(1, 5), large=(2, 16)),
            _draw_quadratic(small=(6, 12), large=(7, 36)),
            _draw_quadratic(small=(13, 39), large=(14, 50)),
        ),
        answer=_larger_root,
        code=("from sympy import *\nx = symbols('x')\nmax(solve(x**2 - {s}*x + {p}))",),
        working=_quadratic,
    ),
    ProblemFamily(
        name="linear_system",
        wordings=(
            "If {a}x + {b}y = {e} and {c}x - {d}y = {f}, what is x?",
            "Solve the system {a}x + {b}y = {e}, {c}x - {d}y = {f} for x.",
            "Given {a}x + {b}y = {e} and {c}x - {d}y = {f}, find x.",
            "Two lines {a}x + {b}y = {e} and {c}x - {d}y = {f} meet in a point. What is its x?",
        ),
        draws=(
            _draw_system(factors=(2, 6), x=(2, 9), same_y=True),
            _draw_system(factors=(2, 5), x=(2, 9), same_y=False),
            _draw_system(factors=(6, 16), x=(10, 40), same_y=False),
        ),
        answer=_system_x,
        code=("from sympy import *\nx, y = symbols('x y')\nsolve([{a}*x + {b}*y - {e}, {c}*x - {d}*y - {f}])[x]",),
        working=_system,
    ),
    ProblemFamily(
        name="polynomial_value",
        wordings=(
            "If f(x) = {a}x^3 + {b}x^2 + {c}, what is f({t})?",
            "Evaluate {a}x^3 + {b}x^2 + {c} at x = {t}.",
            "Find the value of {a}x^3 + {b}x^2 + {c} when x is {t}.",
            "Let x = {t}. Compute {a}x^3 + {b}x^2 + {c}.",
        ),
        draws=(
            uniform(a=(2, 9), b=(2, 9), c=(2, 30), t=(2, 3), where=lambda p: _value(**p) < 100),
            uniform(a=(2, 9), b=(2, 9), c=(2, 30), t=(3, 5), where=lambda p: _value(**p) >= 100),
            uniform(a=(2, 9), b=(2, 9), c=(2, 30), t=(11, 19)),
        ),
        answer=_value,
        code=("x = {t}\nprint({a}*x**3 + {b}*x**2 + {c})",),
        working=_polynomial,
    ),
)

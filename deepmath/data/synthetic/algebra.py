"""Algebra: equations, systems, polynomials."""

from fractions import Fraction
from math import isqrt
from random import Random

from deepmath.data.synthetic.problem_family import Parameters, ProblemFamily, uniform
from deepmath.data.synthetic.worked_steps import add, column_add, divide, multiply, subtract


def _draw_linear_equation(random: Random) -> Parameters:
    a, x, b = random.randint(3, 29), random.randint(3, 40), random.randint(5, 99)
    return {"a": a, "b": b, "c": a * x + b}


def _linear_equation(a: int, b: int, c: int) -> str:
    x = (c - b) // a
    return (
        f"Take {b} from both sides. {subtract(c, b)}So {a}x={c - b}. Divide both sides by {a}. {divide(c - b, a)}"
        f"So x is {x}. Check it. {multiply(a, x)}{add(a * x, b)}"
    )


def _draw_quadratic(random: Random) -> Parameters:
    small, large = sorted(random.sample(range(2, 41), 2))
    return {"s": small + large, "p": small * large}


def _larger_root(s: int, p: int) -> int:
    return (s + isqrt(s * s - 4 * p)) // 2


def _quadratic(s: int, p: int) -> str:
    large = _larger_root(s, p)
    small = s - large
    trials = "; ".join(f"{k}*{s - k}={k * (s - k)}" for k in range(1, small + 1))
    return (
        f"The roots add up to {s} and multiply to {p}. Try pairs: {trials}. That is {p}. "
        f"The roots are {small} and {large}. Check it. {multiply(large, small)}The larger root is {large}. "
    )


def _draw_system(random: Random) -> Parameters:
    a, b, c, d = (random.randint(2, 9) for _ in range(4))
    x, y = random.randint(d + 1, 30), random.randint(1, 9)
    # Keep the second right-hand side positive: the wordings have no sign for it.
    while c * x <= d * y:
        x += 1
    return {"a": a, "b": b, "e": a * x + b * y, "c": c, "d": d, "f": c * x - d * y}


def _system_x(a: int, b: int, e: int, c: int, d: int, f: int) -> Fraction:
    return Fraction(d * e + b * f, a * d + b * c)


def _system(a: int, b: int, e: int, c: int, d: int, f: int) -> str:
    left, right = a * d + b * c, d * e + b * f
    return (
        f"Multiply the first equation by {d}: {a}*{d}={a * d}, {b}*{d}={b * d}. {multiply(e, d)}"
        f"Multiply the second by {b}: {c}*{b}={c * b}, {d}*{b}={d * b}. {multiply(f, b)}"
        f"Add them, y drops out. {column_add(a * d, b * c)}{column_add(d * e, b * f)}"
        f"So {left}x={right}. {divide(right, left)}"
    )


def _polynomial(a: int, b: int, c: int, t: int) -> str:
    square = t * t
    cubic, quadratic = a * square * t, b * square
    return (
        f"{t}*{t}={square}. {multiply(square, t)}{multiply(square * t, a)}{multiply(square, b)}"
        f"{column_add(cubic, quadratic)}{column_add(cubic + quadratic, c)}"
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
        draws=(_draw_linear_equation,),
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
        draws=(_draw_quadratic,),
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
        draws=(_draw_system,),
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
        draws=(uniform(a=(2, 9), b=(2, 9), c=(2, 30), t=(3, 19)),),
        answer=lambda a, b, c, t: a * t**3 + b * t**2 + c,
        code=("x = {t}\nprint({a}*x**3 + {b}*x**2 + {c})",),
        working=_polynomial,
    ),
)

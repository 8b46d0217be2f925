"""Two-step problems: the second snippet uses a variable of the first one."""

from math import gcd
from random import Random

from deepmath.data.synthetic.problem_family import Parameters, ProblemFamily, uniform, unordered
from deepmath.data.synthetic.worked_steps import column_add, divide, euclid, long_multiply, multiply, subtract, total


def _gcd_square(a: int, b: int, c: int) -> str:
    g = gcd(a, b)
    return f"{euclid(a, b)}Square it. {long_multiply(g, g)}{column_add(g * g, c)}"


def _sum_remainder(n: int, m: int) -> str:
    squares = [k * k for k in range(1, n + 1)]
    return (
        f"The squares: {', '.join(f'{k}*{k}={k * k}' for k in range(1, n + 1))}. {total(squares)}"
        f"{divide(sum(squares), m)}"
    )


def _digit_sum(number: int) -> int:
    return sum(int(digit) for digit in str(number))


def _product_digits(a: int, b: int, c: int) -> str:
    digits = [int(digit) for digit in str(a * b)]
    return f"{long_multiply(a, b)}The digits of {a * b}. {total(digits)}{multiply(c, sum(digits))}"


def _draw_solution_value(random: Random) -> Parameters:
    a, x, b = random.randint(3, 19), random.randint(3, 30), random.randint(5, 60)
    return {"a": a, "b": b, "c": a * x + b, "d": random.randint(3, 50)}


def _solution_value(a: int, b: int, c: int, d: int) -> str:
    x = (c - b) // a
    return f"{subtract(c, b)}{divide(c - b, a)}So x is {x}. {long_multiply(x, x)}{column_add(x * x, d)}"


FAMILIES = (
    ProblemFamily(
        name="gcd_square",
        wordings=(
            "Let g be the gcd of {a} and {b}. What is g^2 + {c}?",
            "Compute g^2 + {c} where g = gcd({a}, {b}).",
            "Find the greatest common divisor g of {a} and {b}, then g^2 + {c}.",
            "Square the gcd of {a} and {b} and add {c}. What do you get?",
        ),
        draws=(
            uniform(a=(60, 999), b=(60, 999), c=(2, 99), where=lambda p: p["a"] != p["b"] and gcd(p["a"], p["b"]) > 3),
        ),
        answer=lambda a, b, c: gcd(a, b) ** 2 + c,
        code=("import math\ng = math.gcd({a}, {b})\ng", "g**2 + {c}"),
        working=_gcd_square,
        canonical=unordered("a", "b"),
    ),
    ProblemFamily(
        name="sum_remainder",
        wordings=(
            "Let s be the sum of the first {n} squares. What is the remainder of s by {m}?",
            "Add the squares 1^2 to {n}^2 to get s. Find s mod {m}.",
            "Compute s = 1^2 + ... + {n}^2, then the remainder when s is divided by {m}.",
            "What remains when the sum s of the squares up to {n}^2 is divided by {m}?",
        ),
        draws=(uniform(n=(6, 16), m=(11, 79)),),
        answer=lambda n, m: n * (n + 1) * (2 * n + 1) // 6 % m,
        code=("s = sum(k**2 for k in range(1, {n} + 1))\ns", "s % {m}"),
        working=_sum_remainder,
    ),
    ProblemFamily(
        name="product_digits",
        wordings=(
            "Let p = {a} * {b}. What is {c} times the digit sum of p?",
            "Multiply {a} by {b} to get p. Find the sum of the digits of p, times {c}.",
            "Take the digit sum of p = {a} * {b} and multiply it by {c}. What is the result?",
            "With p the product of {a} and {b}, compute {c} times the sum of the digits of p.",
        ),
        draws=(uniform(a=(12, 99), b=(12, 99), c=(3, 29)),),
        answer=lambda a, b, c: c * _digit_sum(a * b),
        code=("p = {a}*{b}\np", "{c}*sum(int(d) for d in str(p))"),
        working=_product_digits,
        canonical=unordered("a", "b"),
    ),
    ProblemFamily(
        name="solution_value",
        wordings=(
            "If {a}x + {b} = {c}, what is x^2 + {d}?",
            "Solve {a}x + {b} = {c} and compute x^2 + {d}.",
            "Let x be the solution of {a}x + {b} = {c}. Find x^2 + {d}.",
            "The number x satisfies {a}x + {b} = {c}. What is the value of x^2 + {d}?",
        ),
        draws=(_draw_solution_value,),
        answer=lambda a, b, c, d: ((c - b) // a) ** 2 + d,
        code=("x = ({c} - {b})//{a}\nx", "x**2 + {d}"),
        working=_solution_value,
    ),
)

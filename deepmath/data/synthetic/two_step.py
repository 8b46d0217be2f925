"""Two-step problems: the second snippet uses a variable of the first one."""

from math import gcd
from random import Random

from deepmath.data.synthetic.problem_family import Draw, Parameters, ProblemFamily, uniform, unordered
from deepmath.data.synthetic.worked_steps import (
    short_difference,
    short_gcd,
    short_product,
    short_quotient,
    short_sum,
    short_total,
)


def _draw_gcd(larger: tuple[int, int], summand: tuple[int, int], gcds: range) -> Draw:
    """Draw two numbers, the larger one in a closed range, with one of the gcds, and a summand in a closed range."""
    least, most = larger
    return uniform(
        a=(6, most),
        b=(6, most),
        c=summand,
        where=lambda p: p["a"] != p["b"] and max(p["a"], p["b"]) >= least and gcd(p["a"], p["b"]) in gcds,
    )


def _gcd_square(a: int, b: int, c: int) -> str:
    g = gcd(a, b)
    return f"{short_gcd(a, b)}{short_product(g, g)}{short_sum(g * g, c)}"


def _sum_remainder(n: int, m: int) -> str:
    text, running = "", 1
    for k in range(2, n + 1):
        text += f"{short_product(k, k)}{short_sum(running, k * k)}"
        running += k * k
    return f"{text}{short_quotient(running, m)}"


def _digit_sum(number: int) -> int:
    return sum(int(digit) for digit in str(number))


def _product_digits(a: int, b: int, c: int) -> str:
    digits = [int(digit) for digit in str(a * b)]
    return f"{short_product(a, b)}{short_total(digits)}{short_product(sum(digits), c)}"


def _draw_solution_value(x: tuple[int, int], a: tuple[int, int], b: tuple[int, int], d: tuple[int, int]) -> Draw:
    """Draw an equation with the solution, the coefficients and the summand in the given closed ranges."""

    def draw(random: Random) -> Parameters:
        solution, factor, summand = random.randint(*x), random.randint(*a), random.randint(*b)
        return {"a": factor, "b": summand, "c": factor * solution + summand, "d": random.randint(*d)}

    return draw


def _solution_value(a: int, b: int, c: int, d: int) -> str:
    x = (c - b) // a
    return f"{short_difference(c, b)}{short_quotient(c - b, a)}So x={x}. {short_product(x, x)}{short_sum(x * x, d)}"


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
            _draw_gcd((6, 50), summand=(2, 20), gcds=range(2, 10)),
            _draw_gcd((51, 150), summand=(2, 60), gcds=range(4, 13)),
            _draw_gcd((151, 999), summand=(2, 99), gcds=range(13, 100)),
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
        draws=(
            uniform(n=(3, 5), m=(6, 30)),
            uniform(n=(6, 8), m=(6, 60)),
            uniform(n=(9, 13), m=(11, 79)),
        ),
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
        draws=(
            uniform(a=(3, 12), b=(3, 12), c=(2, 9)),
            uniform(
                a=(3, 99), b=(3, 99), c=(2, 9), where=lambda p: min(p["a"], p["b"]) < 10 and max(p["a"], p["b"]) > 12
            ),
            uniform(a=(13, 999), b=(13, 99), c=(11, 29)),
        ),
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
        draws=(
            _draw_solution_value(x=(2, 9), a=(2, 9), b=(2, 18), d=(2, 18)),
            _draw_solution_value(x=(10, 19), a=(2, 6), b=(5, 30), d=(3, 50)),
            _draw_solution_value(x=(20, 99), a=(11, 49), b=(5, 99), d=(3, 99)),
        ),
        answer=lambda a, b, c, d: ((c - b) // a) ** 2 + d,
        code=("x = ({c} - {b})//{a}\nx", "x**2 + {d}"),
        working=_solution_value,
    ),
)

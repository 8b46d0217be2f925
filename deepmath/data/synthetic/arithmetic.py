"""Arithmetic: products, brackets, fractions, percentages, means."""

from fractions import Fraction
from math import gcd, lcm
from random import Random

from deepmath.data.synthetic.problem_family import Draw, Parameters, ProblemFamily, uniform, unordered
from deepmath.data.synthetic.worked_steps import (
    listed,
    short_difference,
    short_gcd,
    short_product,
    short_quotient,
    short_sum,
    short_total,
)


def _brackets(a: int, b: int, c: int, d: int) -> str:
    return f"{short_difference(c, d)}{short_product(b, c - d)}{short_sum(a, b * (c - d))}"


def _are_proper_fractions(p: Parameters) -> bool:
    return p["a"] < p["b"] and p["c"] < p["d"] and gcd(p["a"], p["b"]) == gcd(p["c"], p["d"]) == 1


def _draw_fractions(lowest: int, highest: int) -> Draw:
    """Return a function that draws two proper fractions, the larger denominator within the given bounds."""
    return uniform(
        a=(1, highest - 1),
        b=(2, highest),
        c=(1, highest - 1),
        d=(2, highest),
        where=lambda p: _are_proper_fractions(p) and max(p["b"], p["d"]) >= lowest,
    )


def _fraction_sum(a: int, b: int, c: int, d: int) -> str:
    common = lcm(b, d)
    left, right = a * common // b, c * common // d
    divisor = gcd(left + right, common)
    text = f"The common denominator is {common}. "
    if common > 30:
        small, large = sorted((b, d))
        multiples = range(large, common + 1, large)
        text = f"{listed(f'{m}={m // small}*{small}+{m % small}' for m in multiples)}. {text}"
    text += (
        f"{common}/{b}={common // b}, {short_product(a, common // b)}"
        f"{common}/{d}={common // d}, {short_product(c, common // d)}{short_sum(left, right)}"
    )
    if common > 30:
        text += short_gcd(left + right, common)
    if divisor > 1:
        text += (
            f"Divide both by {divisor}: {left + right}/{divisor}={(left + right) // divisor}, "
            f"{common}/{divisor}={common // divisor}. "
        )
    return text + f"The sum is {Fraction(left + right, common)}. "


def _is_round(p: Parameters) -> bool:
    return p["n"] % 100 == 0 or p["p"] % 10 == p["n"] % 10 == 0


def _percentage(p: int, n: int) -> str:
    if n % 100 == 0:
        return f"1% of {n} is {n // 100}. {short_product(n // 100, p)}"
    if n % 10 == p % 10 == 0:
        return f"10% of {n} is {n // 10}. {short_product(n // 10, p // 10)}"
    return f"{short_product(n, p)}1% of {n * p} is {n * p // 100}. "


def _draw_mean(lowest: int, highest: int) -> Draw:
    """Return a function that draws five numbers within the given bounds, the sum a multiple of 5."""

    def draw(random: Random) -> Parameters:
        numbers = [random.randint(lowest, highest) for _ in range(4)]
        last = random.randint(lowest, highest - 4)
        last += -(sum(numbers) + last) % 5
        return dict(zip("abcde", [*numbers, last], strict=True))

    return draw


def _mean(a: int, b: int, c: int, d: int, e: int) -> str:
    return f"{short_total((a, b, c, d, e))}{short_quotient(a + b + c + d + e, 5)}"


FAMILIES = (
    ProblemFamily(
        name="product",
        wordings=(
            "What is {a} times {b}?",
            "Compute {a} * {b}.",
            "Find the product of {a} and {b}.",
            "Multiply {a} by {b}.",
            "A hall has {a} rows of {b} seats. How many seats are there?",
        ),
        draws=(
            uniform(a=(11, 99), b=(3, 9)),
            uniform(a=(12, 99), b=(12, 49)),
            uniform(a=(100, 999), b=(100, 999)),
        ),
        answer=lambda a, b: a * b,
        code=("{a}*{b}",),
        working=short_product,
        canonical=unordered("a", "b"),
    ),
    ProblemFamily(
        name="brackets",
        wordings=(
            "Evaluate {a} + {b}*({c} - {d}).",
            "What is {a} + {b}*({c} - {d})?",
            "Find the value of {a} + {b}*({c} - {d}).",
            "Work out the expression {a} + {b}*({c} - {d}).",
        ),
        draws=(
            uniform(a=(2, 30), b=(2, 9), c=(11, 20), d=(2, 19), where=lambda p: 2 <= p["c"] - p["d"] <= 9),
            uniform(a=(10, 99), b=(3, 9), c=(40, 99), d=(11, 29)),
            uniform(a=(100, 999), b=(101, 299), c=(40, 99), d=(11, 29)),
        ),
        answer=lambda a, b, c, d: a + b * (c - d),
        code=("print({a} + {b}*({c} - {d}))",),
        working=_brackets,
    ),
    ProblemFamily(
        name="fraction_sum",
        wordings=(
            "What is {a}/{b} + {c}/{d} as a fraction in lowest terms?",
            "Add {a}/{b} and {c}/{d} and reduce the result.",
            "Compute {a}/{b} + {c}/{d} exactly.",
            "Find the sum of the fractions {a}/{b} and {c}/{d}.",
        ),
        draws=(_draw_fractions(2, 6), _draw_fractions(7, 8), _draw_fractions(9, 12)),
        answer=lambda a, b, c, d: Fraction(a, b) + Fraction(c, d),
        code=("from fractions import Fraction\nprint(Fraction({a}, {b}) + Fraction({c}, {d}))",),
        working=_fraction_sum,
        canonical=lambda p: tuple(n for pair in sorted([(p["a"], p["b"]), (p["c"], p["d"])]) for n in pair),
    ),
    ProblemFamily(
        name="percentage",
        wordings=(
            "What is {p}% of {n}?",
            "Find {p} percent of {n}.",
            "A shop has {n} lamps and sells {p}% of them. How many does it sell?",
            "Of {n} people {p}% came by train. How many is that?",
        ),
        draws=(
            uniform(p=(2, 12), n=(200, 1200), where=lambda p: p["n"] % 100 == 0),
            uniform(p=(13, 98), n=(110, 2000), where=_is_round),
            uniform(p=(11, 98), n=(1001, 9999), where=lambda p: p["p"] * p["n"] % 100 == 0 and not _is_round(p)),
        ),
        answer=lambda p, n: p * n // 100,
        code=("{p}*{n}//100",),
        working=_percentage,
    ),
    ProblemFamily(
        name="mean",
        wordings=(
            "What is the mean of {a}, {b}, {c}, {d} and {e}?",
            "Find the average of the numbers {a}, {b}, {c}, {d}, {e}.",
            "Five tests gave {a}, {b}, {c}, {d} and {e} points. What is the average?",
            "Compute the arithmetic mean of {a}, {b}, {c}, {d}, {e}.",
        ),
        draws=(_draw_mean(1, 9), _draw_mean(10, 30), _draw_mean(31, 99)),
        answer=lambda a, b, c, d, e: Fraction(a + b + c + d + e, 5),
        code=("from statistics import mean\nmean([{a}, {b}, {c}, {d}, {e}])",),
        working=_mean,
        canonical=unordered("a", "b", "c", "d", "e"),
    ),
)

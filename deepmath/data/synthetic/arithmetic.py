"""Arithmetic: products, brackets, fractions, percentages, means."""

from fractions import Fraction
from math import gcd, lcm
from random import Random

from deepmath.data.synthetic.problem_family import Parameters, ProblemFamily, uniform, unordered
from deepmath.data.synthetic.worked_steps import add, column_add, divide, long_multiply, subtract


def _brackets(a: int, b: int, c: int, d: int) -> str:
    inner = c - d
    return (
        f"The brackets come first. {subtract(c, d)}Then the product. {long_multiply(b, inner)}"
        f"Last the sum. {column_add(a, b * inner)}"
    )


def _fraction_sum(a: int, b: int, c: int, d: int) -> str:
    common = lcm(b, d)
    left, right = a * common // b, c * common // d
    divisor = gcd(left + right, common)
    multiples = ", ".join(f"{b}*{k}={b * k}" for k in range(1, common // b + 1))
    return (
        f"Find a common denominator. Multiples of {b}: {multiples}. {divide(common, d)}So take {common}. "
        f"{common}={common // b}*{b} and {a}*{common // b}={left}, so {a}/{b}={left}/{common}. "
        f"{common}={common // d}*{d} and {c}*{common // d}={right}, so {c}/{d}={right}/{common}. "
        f"{add(left, right)}The sum is {left + right}/{common}. Divide both by {divisor}: "
        f"{left + right}={(left + right) // divisor}*{divisor} and {common}={common // divisor}*{divisor}. "
        f"So the sum is {Fraction(left + right, common)}. "
    )


def _percentage(p: int, n: int) -> str:
    return f"{p} percent is {p} of 100 parts. {long_multiply(n, p)}One part in 100. {divide(n * p, 100)}"


def _draw_mean(random: Random) -> Parameters:
    numbers = [random.randint(10, 99) for _ in range(4)]
    # The fifth number makes the sum a multiple of 5.
    last = random.randint(10, 95)
    last += -(sum(numbers) + last) % 5
    return dict(zip("abcde", [*numbers, last], strict=True))


def _mean(a: int, b: int, c: int, d: int, e: int) -> str:
    numbers = [a, b, c, d, e]
    by_hand, running = "", a
    for number in numbers[1:]:
        by_hand += column_add(running, number)
        running += number
    return f"There are 5 numbers. {by_hand}{divide(sum(numbers), 5)}"


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
        draws=(uniform(a=(12, 999), b=(12, 99)),),
        answer=lambda a, b: a * b,
        code=("{a}*{b}",),
        working=long_multiply,
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
        draws=(uniform(a=(10, 99), b=(3, 29), c=(40, 99), d=(11, 29)),),
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
        draws=(
            uniform(
                a=(1, 11),
                b=(2, 12),
                c=(1, 11),
                d=(2, 12),
                where=lambda p: p["a"] < p["b"] and p["c"] < p["d"] and gcd(p["a"], p["b"]) == gcd(p["c"], p["d"]) == 1,
            ),
        ),
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
        draws=(uniform(p=(2, 98), n=(100, 2000), where=lambda p: p["p"] * p["n"] % 100 == 0),),
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
        draws=(_draw_mean,),
        answer=lambda a, b, c, d, e: Fraction(a + b + c + d + e, 5),
        code=("from statistics import mean\nmean([{a}, {b}, {c}, {d}, {e}])",),
        working=_mean,
        canonical=unordered("a", "b", "c", "d", "e"),
    ),
)

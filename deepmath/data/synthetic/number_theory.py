"""Number theory: divisors, primes, remainders."""

from math import gcd, isqrt

from deepmath.data.synthetic.problem_family import ProblemFamily, uniform, unordered
from deepmath.data.synthetic.worked_steps import divide, euclid, listed, multiply


def _lcm(a: int, b: int) -> str:
    divisor = gcd(a, b)
    return f"First the gcd. {euclid(a, b)}{divide(a, divisor)}{multiply(b, a // divisor)}"


def _modular_power(a: int, n: int, m: int) -> str:
    text, rest = f"Multiply by {a} again and again, keep the remainder by {m}. Power 1: {a % m}. ", a % m
    for k in range(2, n + 1):
        product = rest * a
        text += f"Power {k}: {rest}*{a}={product}, {product}={product // m}*{m}+{product % m}. "
        rest = product % m
    return text


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def _divisor_count(n: int) -> str:
    trials = ", ".join(f"{n}={n // d}*{d}+{n % d}" for d in range(1, isqrt(n) + 1))
    found = _divisors(n)
    return f"Try each number up to {isqrt(n)}: {trials}. The divisors are {listed(found)}. That makes {len(found)}. "


def _smallest_factor(n: int) -> int:
    return next((d for d in range(2, isqrt(n) + 1) if n % d == 0), n)


def _is_prime(n: int) -> bool:
    return n > 1 and _smallest_factor(n) == n


def _prime_count(a: int, b: int) -> str:
    text, count = f"Go through the odd numbers from {a} to {b}. ", 0
    for n in range(a | 1, b + 1, 2):
        factor = _smallest_factor(n)
        count += factor == n
        text += f"{n} is prime, number {count}. " if factor == n else f"{n}={n // factor}*{factor}. "
    return text + f"There are {count}. "


def _solution(a: int, m: int, b: int, n: int) -> int:
    return next(x for x in range(1, m * n + 1) if x % m == a and x % n == b)


def _congruences(a: int, m: int, b: int, n: int) -> str:
    candidates = range(a, _solution(a, m, b, n) + 1, m)
    trials = "; ".join(f"{x}={x // n}*{n}+{x % n}" for x in candidates)
    return (
        f"Numbers that leave {a} by {m} are {listed(candidates)}. Divide each by {n} until the remainder is {b}: "
        f"{trials}. The remainder is {b}. Check {candidates[-1]}. {divide(candidates[-1], m)}"
        f"{divide(candidates[-1], n)}So {m} leaves {a} and {n} leaves {b}, and no smaller number does both. "
    )


FAMILIES = (
    ProblemFamily(
        name="gcd",
        wordings=(
            "What is the greatest common divisor of {a} and {b}?",
            "Find gcd({a}, {b}).",
            "Compute the largest integer that divides both {a} and {b}.",
            "Two ropes of {a} cm and {b} cm are cut into equal pieces. How long can a piece be at most, in cm?",
        ),
        draws=(uniform(a=(60, 999), b=(60, 999), where=lambda p: p["a"] != p["b"] and gcd(p["a"], p["b"]) > 1),),
        answer=lambda a, b: gcd(a, b),  # noqa: PLW0108 - math.gcd takes no keywords
        code=("import math\nmath.gcd({a}, {b})",),
        working=euclid,
        canonical=unordered("a", "b"),
    ),
    ProblemFamily(
        name="lcm",
        wordings=(
            "What is the least common multiple of {a} and {b}?",
            "Find lcm({a}, {b}).",
            "Compute the smallest positive integer divisible by both {a} and {b}.",
            "Two lamps flash every {a} and every {b} seconds. After how many seconds do they flash together again?",
        ),
        draws=(uniform(a=(12, 99), b=(12, 99), where=lambda p: p["a"] != p["b"]),),
        answer=lambda a, b: a * b // gcd(a, b),
        code=("import math\nmath.lcm({a}, {b})",),
        working=_lcm,
        canonical=unordered("a", "b"),
    ),
    ProblemFamily(
        name="modular_power",
        wordings=(
            "What is the remainder when {a}^{n} is divided by {m}?",
            "Compute {a}^{n} mod {m}.",
            "Find the remainder of {a}^{n} on division by {m}.",
            "Divide {a}^{n} by {m}. What remains?",
        ),
        draws=(uniform(a=(3, 49), n=(6, 14), m=(11, 59), where=lambda p: gcd(p["a"], p["m"]) == 1),),
        answer=lambda a, n, m: a**n % m,
        code=("pow({a}, {n}, {m})",),
        working=_modular_power,
    ),
    ProblemFamily(
        name="divisor_count",
        wordings=(
            "How many positive divisors does {n} have?",
            "Find the number of divisors of {n}.",
            "Count the positive integers that divide {n}.",
            "In how many ways can {n} be written as a product of two ordered positive integers?",
        ),
        draws=(uniform(n=(60, 600)),),
        answer=lambda n: len(_divisors(n)),
        code=("from sympy import divisors\nlen(divisors({n}))",),
        working=_divisor_count,
    ),
    ProblemFamily(
        name="prime_count",
        wordings=(
            "How many primes are there from {a} to {b}?",
            "Count the prime numbers between {a} and {b}, both included.",
            "Find the number of primes p with {a} <= p <= {b}.",
            "How many of the integers {a} to {b} are prime?",
        ),
        draws=(uniform(a=(4, 250), b=(20, 300), where=lambda p: 16 <= p["b"] - p["a"] <= 40),),
        answer=lambda a, b: sum(_is_prime(n) for n in range(a, b + 1)),
        code=("from sympy import primerange\nlen(list(primerange({a}, {b} + 1)))",),
        working=_prime_count,
    ),
    ProblemFamily(
        name="congruences",
        wordings=(
            "What is the smallest positive x with x = {a} mod {m} and x = {b} mod {n}?",
            "Find the least positive integer that leaves remainder {a} by {m} and remainder {b} by {n}.",
            "A number leaves {a} when divided by {m} and {b} when divided by {n}. What is the smallest such number?",
            "Eggs packed by {m} leave {a} over and packed by {n} leave {b} over. How many eggs are there at least?",
        ),
        draws=(
            uniform(
                a=(1, 12),
                m=(5, 13),
                b=(1, 12),
                n=(5, 13),
                where=lambda p: p["a"] < p["m"] and p["b"] < p["n"] and gcd(p["m"], p["n"]) == 1,
            ),
        ),
        answer=_solution,
        code=("next(x for x in range(1, {m}*{n}) if x % {m} == {a} and x % {n} == {b})",),
        working=_congruences,
        canonical=lambda p: tuple(n for pair in sorted([(p["a"], p["m"]), (p["b"], p["n"])]) for n in pair),
    ),
)

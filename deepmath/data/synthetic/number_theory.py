"""Number theory: divisors, primes, remainders."""

from math import gcd, isqrt

from deepmath.data.synthetic.problem_family import Parameters, ProblemFamily, uniform, unordered
from deepmath.data.synthetic.worked_steps import short_gcd, short_product


def _have_common_divisor(p: Parameters) -> bool:
    return p["a"] != p["b"] and gcd(p["a"], p["b"]) > 1


def _lcm(a: int, b: int) -> str:
    small, large, divisor = min(a, b), max(a, b), gcd(a, b)
    text = short_gcd(a, b)
    if divisor > 1:
        text += f"{small}={small // divisor}*{divisor}+0. "
    return text + short_product(large, small // divisor)


def _is_unit(p: Parameters) -> bool:
    return p["a"] % p["m"] > 1 and gcd(p["a"], p["m"]) == 1


def _modular_power(a: int, n: int, m: int) -> str:
    base = a % m
    text, rest = f"{a}={a // m}*{m}+{base}. " if a >= m else "", base
    for k in range(2, n + 1):
        product = rest * base
        text += f"Power {k}: {rest}*{base}={product}={product // m}*{m}+{product % m}. "
        rest = product % m
    return f"{text}The remainder is {rest}. "


def _divisor_count(n: int) -> str:
    trials, count = [], 0
    for d in range(1, isqrt(n) + 1):
        if n % d:
            trials.append(f"{n // d}*{d}+{n % d}={n}")
        else:
            count += 1 if d * d == n else 2
            trials.append(f"{n // d}*{d}={n} ({count})")
    return f"{', '.join(trials)}. There are {count}. "


def _smallest_factor(n: int) -> int:
    return next((d for d in range(2, isqrt(n) + 1) if n % d == 0), n)


def _is_prime(n: int) -> bool:
    return n > 1 and _smallest_factor(n) == n


def _prime_count(a: int, b: int) -> str:
    trials, count = [], 0
    for n in range(a | 1, b + 1, 2):
        factor = _smallest_factor(n)
        count += factor == n
        trials.append(f"{n} prime ({count})" if factor == n else f"{n}={n // factor}*{factor}")
    return f"{', '.join(trials)}. There are {count}. "


def _solution(a: int, m: int, b: int, n: int) -> int:
    return next(x for x in range(1, m * n + 1) if x % m == a and x % n == b)


def _candidates(a: int, m: int, b: int, n: int) -> range:
    """Return the numbers to try: those with the right remainder by the larger divisor, up to the solution."""
    return range(a if m > n else b, _solution(a, m, b, n) + 1, max(m, n))


def _are_congruences(p: Parameters) -> bool:
    return p["a"] < p["m"] and p["b"] < p["n"] and gcd(p["m"], p["n"]) == 1


def _congruences(a: int, m: int, b: int, n: int) -> str:
    small, large, candidates = min(m, n), max(m, n), _candidates(a, m, b, n)
    trials = ", ".join(f"{x}={x // small}*{small}+{x % small}" for x in candidates)
    remainder = a if small == m else b
    return f"Add {large} until the remainder by {small} is {remainder}: {trials}. So x is {candidates[-1]}. "


FAMILIES = (
    ProblemFamily(
        name="gcd",
        wordings=(
            "What is the greatest common divisor of {a} and {b}?",
            "Find gcd({a}, {b}).",
            "Compute the largest integer that divides both {a} and {b}.",
            "Two ropes of {a} cm and {b} cm are cut into equal pieces. How long can a piece be at most, in cm?",
        ),
        draws=(
            uniform(a=(4, 40), b=(4, 40), where=_have_common_divisor),
            uniform(a=(30, 150), b=(41, 150), where=_have_common_divisor),
            uniform(a=(100, 999), b=(151, 999), where=_have_common_divisor),
        ),
        answer=lambda a, b: gcd(a, b),  # noqa: PLW0108 - math.gcd takes no keywords
        code=("import math\nmath.gcd({a}, {b})",),
        working=short_gcd,
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
        draws=(
            uniform(a=(2, 15), b=(2, 15), where=lambda p: p["a"] != p["b"] and min(p["a"], p["b"]) < 10),
            uniform(a=(6, 30), b=(16, 30), where=lambda p: p["a"] != p["b"]),
            uniform(a=(31, 199), b=(31, 199), where=lambda p: p["a"] != p["b"]),
        ),
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
        draws=(
            uniform(a=(2, 12), n=(2, 3), m=(3, 12), where=_is_unit),
            uniform(a=(2, 15), n=(4, 7), m=(5, 15), where=_is_unit),
            uniform(a=(3, 49), n=(8, 14), m=(21, 59), where=_is_unit),
        ),
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
        draws=(uniform(n=(4, 63)), uniform(n=(64, 250)), uniform(n=(251, 999))),
        answer=lambda n: sum(n % d == 0 for d in range(1, n + 1)),
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
        draws=(
            uniform(a=(4, 90), b=(8, 99), where=lambda p: 4 <= p["b"] - p["a"] <= 9),
            uniform(a=(4, 150), b=(16, 170), where=lambda p: 12 <= p["b"] - p["a"] <= 20),
            uniform(a=(4, 250), b=(28, 300), where=lambda p: 24 <= p["b"] - p["a"] <= 50),
        ),
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
                a=(1, 8),
                m=(3, 9),
                b=(1, 8),
                n=(3, 9),
                where=lambda p: _are_congruences(p) and len(_candidates(**p)) <= 3,
            ),
            uniform(
                a=(1, 8),
                m=(3, 9),
                b=(1, 8),
                n=(3, 9),
                where=lambda p: _are_congruences(p) and len(_candidates(**p)) > 3,
            ),
            uniform(
                a=(1, 18),
                m=(8, 19),
                b=(1, 18),
                n=(10, 19),
                where=lambda p: _are_congruences(p) and len(_candidates(**p)) > 3,
            ),
        ),
        answer=_solution,
        code=("next(x for x in range(1, {m}*{n}) if x % {m} == {a} and x % {n} == {b})",),
        working=_congruences,
        canonical=lambda p: tuple(n for pair in sorted([(p["a"], p["m"]), (p["b"], p["n"])]) for n in pair),
    ),
)

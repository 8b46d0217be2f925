"""Combinatorics: selections, counts, probabilities."""

from fractions import Fraction
from math import comb, factorial, gcd, lcm, perm

from deepmath.data.synthetic.problem_family import Draw, ProblemFamily, uniform, unordered
from deepmath.data.synthetic.worked_steps import short_difference, short_gcd, short_product, short_quotient, short_sum


def _combinations(n: int, k: int) -> str:
    text, chosen = "", min(k, n - k)
    if chosen < k:
        text = f"{n}-{k}={chosen}, so choose {chosen} of {n}. "
    if chosen == 1:
        return text + f"So {n}. "
    even, odd = (n, n - 1) if n % 2 == 0 else (n - 1, n)
    text += f"{even}={even // 2}*2+0. {short_product(odd, even // 2)}"
    for i in range(3, chosen + 1):
        value, factor = comb(n, i - 1), n - i + 1
        text += f"{short_product(value, factor)}{short_quotient(value * factor, i)}"
    return text


def _draw_coins(largest: int, amount: tuple[int, int], tries: range) -> Draw:
    """Draw two coins and an amount in a closed range, for which the larger coin can be taken so many times."""
    return uniform(
        a=(3, largest),
        b=(2, largest - 1),
        n=amount,
        where=lambda p: p["b"] < p["a"] and p["n"] // p["a"] in tries and p["n"] % gcd(p["a"], p["b"]) == 0,
    )


def _pay_ways(a: int, b: int, n: int) -> int:
    return sum((n - a * x) % b == 0 for x in range(n // a + 1))


def _coins(a: int, b: int, n: int) -> str:
    text, count = f"{n}=", 0
    for rest in range(n, -1, -a):
        count += rest % b == 0
        text += f"{rest // b}*{b}+{rest % b}, " + (f"yes {count}. " if rest % b == 0 else "no. ")
        text += f"{rest}-{a}={rest - a}=" if rest >= a else f"So {count}. "
    return text


def _multiples_of_either(a: int, b: int, n: int) -> int:
    return n // a + n // b - n // lcm(a, b)


def _multiples(a: int, b: int, n: int) -> str:
    both = lcm(a, b)
    text = f"{short_quotient(n, a)}{short_quotient(n, b)}"
    if max(a, b) > 12:
        text += f"{short_gcd(a, b)}{short_product(a, b)}"
        text += short_quotient(a * b, gcd(a, b)) if both < a * b else ""
    return (
        f"{text}The lcm is {both}. {short_quotient(n, both)}{short_sum(n // a, n // b)}"
        f"{short_difference(n // a + n // b, n // both)}"
    )


def _urn(r: int, b: int) -> str:
    above, below = [r, r - 1], [r + b, r + b - 1]
    text = f"{short_sum(r, b)}So {above[0]}/{below[0]}*{above[1]}/{below[1]}. "
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        divisor = gcd(above[i], below[j])
        if max(above[i], below[j]) > 14:
            text += short_gcd(above[i], below[j])
        if divisor > 1:
            above[i], below[j] = above[i] // divisor, below[j] // divisor
            text += f"Cancel {divisor}: {above[0]}/{below[0]}*{above[1]}/{below[1]}. "
    return f"{text}{short_product(*above)}{short_product(*below)}So {Fraction(r * (r - 1), (r + b) * (r + b - 1))}. "


FAMILIES = (
    ProblemFamily(
        name="combinations",
        wordings=(
            "In how many ways can {k} of {n} people be chosen?",
            "How many subsets of size {k} does a set of {n} elements have?",
            "Compute the binomial coefficient {n} choose {k}.",
            "From {n} books {k} are picked, order does not matter. How many choices are there?",
        ),
        draws=(
            # The smaller one of k and n-k is 1, or 2 with a product of one row; then 2 or 3; then 3 or more.
            uniform(
                n=(5, 40),
                k=(2, 39),
                where=lambda p: p["n"] - p["k"] == 1 or (2 in (p["k"], p["n"] - p["k"]) and p["n"] < 20),
            ),
            uniform(
                n=(6, 80),
                k=(2, 78),
                where=lambda p: (
                    (2 in (p["k"], p["n"] - p["k"]) and p["n"] >= 20)
                    or (3 in (p["k"], p["n"] - p["k"]) and p["n"] <= 20 and p["n"] - p["k"] >= 3)
                ),
            ),
            uniform(
                n=(8, 99),
                k=(3, 5),
                where=lambda p: (
                    p["n"] - p["k"] > 3 and p["n"] in {3: range(21, 100), 4: range(8, 69), 5: range(9, 21)}[p["k"]]
                ),
            ),
        ),
        answer=lambda n, k: perm(n, k) // factorial(k),
        code=("import math\nmath.comb({n}, {k})",),
        working=_combinations,
    ),
    ProblemFamily(
        name="coins",
        wordings=(
            "In how many ways can {n} cents be paid with coins of {a} and {b} cents?",
            "How many pairs of non-negative integers x, y satisfy {a}x + {b}y = {n}?",
            "Count the ways to write {n} as a sum of {a}s and {b}s, ignoring order.",
            "Boards of length {a} and {b} are laid in a line of length {n}. How many mixes are possible?",
        ),
        draws=(
            _draw_coins(12, amount=(10, 40), tries=range(1, 4)),
            _draw_coins(12, amount=(30, 99), tries=range(4, 8)),
            _draw_coins(19, amount=(50, 200), tries=range(8, 21)),
        ),
        answer=_pay_ways,
        code=("print(sum(({n} - {a}*x) % {b} == 0 for x in range({n}//{a} + 1)))",),
        working=_coins,
        canonical=unordered("a", "b"),
    ),
    ProblemFamily(
        name="multiples",
        wordings=(
            "How many integers from 1 to {n} are divisible by {a} or {b}?",
            "Count the numbers up to {n} that are multiples of {a} or of {b}.",
            "Of the first {n} positive integers, how many are divisible by {a} or by {b}?",
            "Find how many k with 1 <= k <= {n} are a multiple of {a} or {b}.",
        ),
        draws=(
            uniform(
                n=(20, 59), a=(2, 10), b=(2, 10), where=lambda p: p["a"] != p["b"] and p["n"] < 10 * min(p["a"], p["b"])
            ),
            uniform(n=(60, 199), a=(3, 12), b=(3, 12), where=lambda p: p["a"] != p["b"]),
            uniform(n=(200, 999), a=(3, 19), b=(3, 19), where=lambda p: p["a"] != p["b"]),
        ),
        answer=_multiples_of_either,
        code=("len([k for k in range(1, {n} + 1) if k % {a} == 0 or k % {b} == 0])",),
        working=_multiples,
        canonical=unordered("a", "b"),
    ),
    ProblemFamily(
        name="urn",
        wordings=(
            "An urn holds {r} red and {b} blue balls. Two are drawn. What is the probability that both are red?",
            "A box has {r} red pens and {b} blue pens. Two are taken at random. How likely are two red ones?",
            "From {r} red and {b} blue cards two are drawn without putting back. Find the chance of two reds.",
            "There are {r} red and {b} blue socks in a drawer. What is the probability of picking two red ones?",
        ),
        draws=(
            uniform(r=(2, 12), b=(2, 12), where=lambda p: p["r"] + p["b"] <= 14),
            uniform(r=(2, 22), b=(2, 22), where=lambda p: 15 <= p["r"] + p["b"] <= 24),
            uniform(r=(2, 38), b=(2, 38), where=lambda p: 25 <= p["r"] + p["b"] <= 40),
        ),
        answer=lambda r, b: Fraction(r * (r - 1), (r + b) * (r + b - 1)),
        code=("r, b = {r}, {b}\nn = r + b\nfrom fractions import Fraction\nprint(Fraction(r*(r - 1), n*(n - 1)))",),
        working=_urn,
    ),
)

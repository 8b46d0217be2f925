"""Combinatorics: selections, counts, probabilities."""

from fractions import Fraction
from math import comb, factorial, gcd, lcm, perm

from deepmath.data.synthetic.problem_family import ProblemFamily, uniform, unordered
from deepmath.data.synthetic.worked_steps import add, divide, euclid, multiply, subtract


def _combinations(n: int, k: int) -> str:
    text, value = f"Multiply and divide in turn, {k} times. Start with {n}. ", n
    for i in range(2, k + 1):
        factor = n - i + 1
        text += f"Step {i}: {multiply(value, factor)}{divide(value * factor, i)}"
        value = value * factor // i
    return text


def _pay_ways(a: int, b: int, n: int) -> int:
    return sum((n - a * x) % b == 0 for x in range(n // a + 1))


def _coins(a: int, b: int, n: int) -> str:
    text, count = f"Try every number of coins of {a}. ", 0
    for x in range(n // a + 1):
        rest = n - a * x
        count += rest % b == 0
        text += f"{n}-{a}*{x}={rest}={rest // b}*{b}+{rest % b}, " + ("yes. " if rest % b == 0 else "no. ")
    return text + f"Count the yes: {count}. "


def _multiples_of_either(a: int, b: int, n: int) -> int:
    return n // a + n // b - n // lcm(a, b)


def _multiples(a: int, b: int, n: int) -> str:
    both = lcm(a, b)
    return (
        f"Count the multiples of {a}. {divide(n, a)}Count those of {b}. {divide(n, b)}Both together. "
        f"{euclid(a, b)}{a}*{b}={a * b} and {a * b}={both}*{gcd(a, b)}, so count those of {both}. {divide(n, both)}"
        f"{add(n // a, n // b)}{subtract(n // a + n // b, n // both)}"
    )


def _urn(r: int, b: int) -> str:
    n = r + b
    ways, all_ways = r * (r - 1), n * (n - 1)
    divisor = gcd(ways, all_ways)
    return (
        f"{add(r, b)}Red first and red again: {r}*{r - 1}. {multiply(r, r - 1)}All pairs: {n}*{n - 1}. "
        f"{multiply(n, n - 1)}The chance is {ways}/{all_ways}. Reduce it. {euclid(all_ways, ways)}"
        f"{ways}={ways // divisor}*{divisor} and {all_ways}={all_ways // divisor}*{divisor}. "
        f"So the chance is {Fraction(ways, all_ways)}. "
    )


FAMILIES = (
    ProblemFamily(
        name="combinations",
        wordings=(
            "In how many ways can {k} of {n} people be chosen?",
            "How many subsets of size {k} does a set of {n} elements have?",
            "Compute the binomial coefficient {n} choose {k}.",
            "From {n} books {k} are picked, order does not matter. How many choices are there?",
        ),
        draws=(uniform(n=(8, 70), k=(2, 6), where=lambda p: comb(p["n"], p["k"]) < 10**6),),
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
            uniform(
                a=(3, 19),
                b=(2, 18),
                n=(50, 200),
                where=lambda p: p["b"] < p["a"] and 5 <= p["n"] // p["a"] <= 20 and p["n"] % gcd(p["a"], p["b"]) == 0,
            ),
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
        draws=(uniform(n=(100, 999), a=(3, 19), b=(3, 19), where=lambda p: p["a"] != p["b"]),),
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
        draws=(uniform(r=(2, 25), b=(2, 25), where=lambda p: p["r"] + p["b"] <= 32),),
        answer=lambda r, b: Fraction(r * (r - 1), (r + b) * (r + b - 1)),
        code=("r, b = {r}, {b}\nn = r + b\nfrom fractions import Fraction\nprint(Fraction(r*(r - 1), n*(n - 1)))",),
        working=_urn,
    ),
)

"""Sequences: sums, terms, recurrences."""

from deepmath.data.synthetic.problem_family import ProblemFamily, uniform
from deepmath.data.synthetic.worked_steps import short_product, short_sum


def _arithmetic_sum(a: int, d: int, n: int) -> str:
    text, term, running = "", a, a
    for k in range(2, n + 1):
        text += f"{k}: {short_sum(term, d)}{short_sum(running, term + d)}"
        term += d
        running += term
    return text


def _geometric_term(a: int, r: int, n: int) -> str:
    return "".join(f"{k}: {short_product(a * r ** (k - 2), r)}" for k in range(2, n + 1))


def _recurrent_term(a: int, b: int, n: int) -> int:
    for _ in range(n - 2):
        a, b = b, a + b
    return b


def _recurrence(a: int, b: int, n: int) -> str:
    text = ""
    for k in range(3, n + 1):
        text += f"{k}: {short_sum(a, b)}"
        a, b = b, a + b
    return text


FAMILIES = (
    ProblemFamily(
        name="arithmetic_sum",
        wordings=(
            "What is the sum of the first {n} terms of the arithmetic sequence {a}, {a}+{d}, {a}+2*{d}, ...?",
            "An arithmetic sequence starts at {a} with difference {d}. Find the sum of its first {n} terms.",
            "Add {n} numbers, the first is {a} and each next one is {d} more. What is the total?",
            "A runner does {a} km in week 1 and {d} km more every week. How many km in {n} weeks?",
        ),
        draws=(
            uniform(a=(2, 9), d=(2, 9), n=(3, 4)),
            uniform(a=(2, 20), d=(2, 12), n=(5, 7)),
            uniform(a=(2, 40), d=(2, 20), n=(8, 11)),
        ),
        answer=lambda a, d, n: n * a + d * n * (n - 1) // 2,
        code=("print(sum({a} + {d}*k for k in range({n})))",),
        working=_arithmetic_sum,
    ),
    ProblemFamily(
        name="geometric_term",
        wordings=(
            "What is term number {n} of the geometric sequence with first term {a} and ratio {r}?",
            "A geometric sequence starts at {a} and has ratio {r}. Find its term number {n}.",
            "Begin with {a} and multiply by {r} at each step. What is the number at place {n}?",
            "A colony of {a} cells grows by the factor {r} each day. How many cells are there on day {n}?",
        ),
        draws=(
            uniform(a=(2, 12), r=(2, 9), n=(3, 3)),
            uniform(a=(2, 20), r=(2, 6), n=(4, 5)),
            uniform(a=(2, 60), r=(2, 6), n=(6, 8), where=lambda p: p["a"] * p["r"] ** (p["n"] - 1) < 10**6),
        ),
        answer=lambda a, r, n: a * r ** (n - 1),
        code=("{a}*{r}**({n} - 1)",),
        working=_geometric_term,
    ),
    ProblemFamily(
        name="recurrence",
        wordings=(
            "A sequence starts {a}, {b} and each further term is the sum of the two before. What is term {n}?",
            "Let u1 = {a}, u2 = {b} and u(k) = u(k-1) + u(k-2). Find u({n}).",
            "Like Fibonacci's, a sequence adds its last two terms, but starts with {a} and {b}. What is term {n}?",
            "The first two terms are {a} and {b}, then add the last two each time. Compute term number {n}.",
        ),
        draws=(
            uniform(a=(1, 12), b=(1, 12), n=(4, 5)),
            uniform(a=(2, 25), b=(2, 25), n=(6, 8)),
            uniform(a=(1, 40), b=(1, 40), n=(9, 12)),
        ),
        answer=_recurrent_term,
        code=("a, b = {a}, {b}\nfor k in range({n} - 2):\n    a, b = b, a + b\nprint(b)",),
        working=_recurrence,
    ),
)

"""Arithmetic by hand, written out: the sentences that the `working` of the families is made of.

Every equation in these texts holds as written.
"""

from collections.abc import Iterable


def add(a: int, b: int) -> str:
    """Addition in one line."""
    return f"{a}+{b}={a + b}. "


def subtract(a: int, b: int) -> str:
    """Subtraction in one line."""
    return f"{a}-{b}={a - b}. "


def multiply(a: int, b: int) -> str:
    """Multiplication of two positive numbers: a product per digit of `b`, and their running sum."""
    rows = [a * digit * 10**place for place, digit in enumerate(_digits(b)) if digit]
    if len(rows) == 1:
        return f"{a}*{b}={a * b}. "
    products = ", ".join(f"{row // a}*{a}={row}" for row in rows)
    return f"{a}*{b}: {products}, {_sums(rows)}. "


def long_multiply(a: int, b: int) -> str:
    """Long multiplication of two positive numbers: a row per digit of `b`, each written from the units up."""
    text, running = f"Multiply {a} by {b}. ", 0
    for place, digit in enumerate(_digits(b)):
        row = a * digit * 10**place
        if not row:
            continue
        text += f"{a}*{digit}: {_row(a, digit)}. So {a}*{digit * 10**place}={row}. "
        text += column_add(running, row) if running else ""
        running += row
    return text


def column_add(a: int, b: int) -> str:
    """Column addition of two non-negative numbers, from the units up."""
    columns, carry, width = [], 0, max(len(str(a)), len(str(b)))
    for x, y in zip(_digits(a, width), _digits(b, width), strict=True):
        column = x + y + carry
        columns.append(f"{x}+{y}" + (f"+{carry}" if carry else "") + f"={column}")
        carry = column // 10
    return f"Add {a} and {b}: {', '.join(columns)}. So {a}+{b}={a + b}. "


def divide(a: int, b: int) -> str:
    """Long division of `a` by `b`, both positive, with the remainder."""
    steps: list[str] = []
    rest = 0
    for digit in reversed(_digits(a)):
        rest = rest * 10 + digit
        if rest >= b or steps:
            steps.append(f"{rest}={rest // b}*{b}+{rest % b}")
        rest %= b
    return f"Divide {a} by {b}: {', '.join([*steps, f'{a}={a // b}*{b}+{rest}'])}. "


def total(terms: Iterable[int]) -> str:
    """A running sum of at least two numbers."""
    return f"Add up: {_sums(terms)}. "


def power(base: int, exponent: int) -> str:
    """Repeated multiplication."""
    return "".join(multiply(base**k, base) for k in range(1, exponent))


def euclid(a: int, b: int) -> str:
    """Euclid's algorithm, down to the remainder 0."""
    a, b, lines = max(a, b), min(a, b), []
    while b:
        lines.append(f"{a}={a // b}*{b}+{a % b}")
        a, b = b, a % b
    return f"Divide with remainder: {', '.join(lines)}. The last remainder that is not 0 is the gcd, {a}. "


def listed(values: Iterable[object]) -> str:
    """The values with commas between them."""
    return ", ".join(str(value) for value in values)


def _sums(terms: Iterable[int]) -> str:
    running, *rest = terms
    sums = []
    for term in rest:
        sums.append(f"{running}+{term}={running + term}")
        running += term
    return ", ".join(sums)


def _row(a: int, digit: int) -> str:
    """`a` times one digit, from the units up."""
    columns, carry = [], 0
    for x in _digits(a):
        column = x * digit + carry
        columns.append(f"{x}*{digit}" + (f"+{carry}" if carry else "") + f"={column}")
        carry = column // 10
    return ", ".join(columns)


def _digits(number: int, width: int = 1) -> list[int]:
    """The decimal digits, units first, filled up with zeros to the width."""
    return [int(digit) for digit in reversed(f"{number:0{width}}")]

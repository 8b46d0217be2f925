"""Arithmetic by hand, written out: the building blocks of the `working` of the problem families.

Every equation in these texts is true as written.
"""

from collections.abc import Iterable


def short_sum(a: int, b: int) -> str:
    """Return the sum of two non-negative numbers: one equation below 100, else columns from the units up."""
    if max(a, b) < 100:
        return f"{a}+{b}={a + b}. "
    columns, carry, width = [], 0, max(len(str(a)), len(str(b)))
    for x, y in zip(_digits(a, width), _digits(b, width), strict=True):
        column = x + y + carry
        columns.append(f"{x}+{y}" + (f"+{carry}" if carry else "") + f"={column}")
        carry = column // 10
    return f"{a}+{b}: {', '.join(columns)}, so {a + b}. "


def short_difference(a: int, b: int) -> str:
    """Return `a-b`, where `0 <= b <= a`: one equation below 100, else columns with borrows from the units up."""
    if a < 100:
        return f"{a}-{b}={a - b}. "
    columns, borrow, width = [], 0, len(str(a))
    for x, y in zip(_digits(a, width), _digits(b, width), strict=True):
        short = x - borrow < y
        columns.append(f"{x}{'-1' * borrow}{'+10' * short}-{y}={x - borrow + 10 * short - y}")
        borrow = int(short)
    return f"{a}-{b}: {', '.join(columns)}, so {a - b}. "


def short_product(a: int, b: int) -> str:
    """Return the product of two positive numbers: an entry of the table up to 12, else a row per digit of `b`."""
    if max(a, b) <= 12:
        return f"{a}*{b}={a * b}. "
    if a < 10 <= b:
        a, b = b, a
    if b in (1, 10, 100):
        return f"{a}*{b}={a * b}. "
    text, running = f"{a}*{b}: ", 0
    for place, digit in enumerate(_digits(b)):
        row = a * digit * 10**place
        if not row:
            continue
        if digit == 1:
            text += f"{a}*{10**place}={row}. "
        else:
            text += f"{a}*{digit * 10**place}: " if row != a * b else ""
            text += f"{_row(a, digit)}, so {row}. "
        text += short_sum(running, row) if running else ""
        running += row
    return text


def short_quotient(a: int, b: int) -> str:
    """Return `a=q*b+r` for positive numbers: one equation if `q` is a digit or all is in the table, else by digits."""
    steps: list[str] = []
    rest = 0
    for digit in reversed(_digits(a)):
        rest = rest * 10 + digit
        if rest >= b or steps:
            steps.append(f"{rest}={rest // b}*{b}+{rest % b}")
        rest %= b
    if len(steps) <= 1 or max(a // b, b) <= 12:
        return f"{a}={a // b}*{b}+{a % b}. "
    return f"{a}/{b}: {', '.join(steps)}, so {a}={a // b}*{b}+{a % b}. "


def short_total(terms: Iterable[int]) -> str:
    """Return the running sum of at least two non-negative numbers."""
    running, *rest = terms
    text = ""
    for term in rest:
        text += short_sum(running, term)
        running += term
    return text


def short_gcd(a: int, b: int) -> str:
    """Return Euclid's algorithm for two positive numbers. Dividends of three digits are divided in columns."""
    a, b, text = max(a, b), min(a, b), ""
    while b:
        quotient, rest = divmod(a, b)
        if a >= 100:
            text += (short_product(b, quotient) if quotient > 1 else "") + short_difference(a, quotient * b)
        text += f"{a}={quotient}*{b}+{rest}. "
        a, b = b, rest
    return f"{text}The gcd is {a}. "


def listed(values: Iterable[object]) -> str:
    """Return the values, separated by commas."""
    return ", ".join(str(value) for value in values)


def _row(a: int, digit: int) -> str:
    """Return the steps of `a` times one digit, from the units up."""
    columns, carry = [], 0
    for x in _digits(a):
        column = x * digit + carry
        columns.append(f"{x}*{digit}" + (f"+{carry}" if carry else "") + f"={column}")
        carry = column // 10
    return ", ".join(columns)


def _digits(number: int, width: int = 1) -> list[int]:
    """Return the decimal digits, units first, padded with zeros to `width`."""
    return [int(digit) for digit in reversed(f"{number:0{width}}")]

"""Exact arithmetic on expressions: their values as fractions, within bounds on digits and steps.

It evaluates trees of our own nodes with integers only, so it runs in the caller's process.
"""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction

from deepmath.grading.answer_nodes import Name, Node, Number, Operation

_MOST_BITS = 1 << 14
_MOST_STEPS = 4000
_LARGEST_FACTORIAL = 1000
_MOST_TERMS = 500

Point = Mapping[str, Fraction]
"""Values of names."""


class InexactError(Exception):
    """The value is irrational, complex or too large, or depends on a name without a value."""


class UndefinedError(Exception):
    """The expression has no value: a division by zero."""


class ExactArithmetic:
    """Evaluation with fractions."""

    def zero(self, build: Callable[[Callable[[Node, Point], Fraction]], Fraction]) -> bool:
        """Return whether the number that `build` computes, given a function for the values of nodes, is zero.

        Raises:
            InexactError: This arithmetic cannot tell.
            UndefinedError: The number is undefined.
        """
        return build(_ExactEvaluation().value) == 0

    def sign(self, build: Callable[[Callable[[Node, Point], Fraction]], Fraction]) -> int:
        """Return the sign of the number that `build` computes: -1, 0 or 1.

        Raises:
            InexactError: This arithmetic cannot tell.
            UndefinedError: The number is undefined.
        """
        number = build(_ExactEvaluation().value)
        return (number > 0) - (number < 0)

    def approximate(self, node: Node) -> Fraction:
        """Return the value of `node`, which has no names.

        Raises:
            InexactError: This arithmetic cannot tell.
            UndefinedError: The value is undefined.
        """
        return exact_value(node)

    def is_real(self, node: Node, point: Point) -> bool:
        """Return whether the value of `node` at `point` is a real number; fractions always are."""
        _ExactEvaluation().value(node, point)
        return True


def exact_value(node: Node, point: Point | None = None) -> Fraction:
    """Return the value of `node`, where names have their values in `point`.

    Raises:
        InexactError: It is not a fraction of a bounded size.
        UndefinedError: It divides by zero.
    """
    return _ExactEvaluation().value(node, point or {})


class _ExactEvaluation:
    """One evaluation with its budget of steps."""

    def __init__(self) -> None:
        self._steps = 0

    def value(self, node: Node, point: Point) -> Fraction:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise InexactError("too many steps")
        match node:
            case Number(value):
                return _bounded(value)
            case Name(text) if text in point:
                return point[text]
            case Operation("sum" | "prod" as operator, (Name(index), start, stop, body)):
                return self._series(operator, index, self.value(start, point), self.value(stop, point), body, point)
            case Operation(operator, operands) if operator in _OPERATIONS:
                return _bounded(_OPERATIONS[operator](*[self.value(one, point) for one in operands]))
        raise InexactError("no fraction")

    def _series(self, operator: str, index: str, start: Fraction, stop: Fraction, body: Node, point: Point) -> Fraction:
        if start.denominator != 1 or stop.denominator != 1 or stop - start > _MOST_TERMS:
            raise InexactError("too many terms")
        total = Fraction(operator == "prod")
        for at in range(int(start), int(stop) + 1):
            term = self.value(body, {**point, index: Fraction(at)})
            total = _bounded(total * term if operator == "prod" else total + term)
        return total


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > _MOST_BITS:
        raise InexactError("too many digits")
    return value


def _divide(left: Fraction, right: Fraction) -> Fraction:
    if not right:
        raise UndefinedError("division by zero")
    return left / right


def _product(*factors: Fraction) -> Fraction:
    found = Fraction(1)
    for factor in factors:
        found = _bounded(found * factor)
    return found


def _sum(*terms: Fraction) -> Fraction:
    found = Fraction(0)
    for term in terms:
        found = _bounded(found + term)
    return found


def power(base: Fraction, exponent: Fraction) -> Fraction:
    """Return `base` to the power of `exponent`, if that is a fraction.

    Raises:
        InexactError: It is irrational, or too large.
        UndefinedError: It is a negative power of zero.
    """
    if exponent.denominator != 1:
        if not 1 < exponent.denominator <= 64 or (base < 0 and exponent.denominator % 2 == 0):
            raise InexactError("an irrational power")
        base, exponent = root(base, exponent.denominator), Fraction(exponent.numerator)
    if not base and exponent < 0:
        raise UndefinedError("division by zero")
    if abs(base) == 1 or not base:
        return base ** (int(exponent) % 2 if base == -1 else int(bool(exponent)))
    bits = base.numerator.bit_length() + base.denominator.bit_length()
    if abs(exponent) * bits > _MOST_BITS:
        raise InexactError("too many digits")
    return base ** int(exponent)


def root(value: Fraction, degree: int) -> Fraction:
    """Return the real root of `value`, if that is a fraction.

    Raises:
        InexactError: It is irrational or complex.
    """
    if value < 0:
        if degree % 2 == 0:
            raise InexactError("a complex root")
        return -root(-value, degree)
    parts = [_integer_root(part, degree) for part in (value.numerator, value.denominator)]
    return Fraction(*parts)


def _integer_root(value: int, degree: int) -> int:
    if degree == 2:
        found = math.isqrt(value)
    else:
        low, high = 0, 1 << (value.bit_length() // degree + 1)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if middle**degree <= value else (low, middle - 1)
        found = low
    if found**degree != value:
        raise InexactError("an irrational root")
    return found


def _root(value: Fraction, degree: Fraction) -> Fraction:
    if degree.denominator != 1 or not 1 < degree <= 64:
        raise InexactError("an unusual root")
    return root(value, int(degree))


def _natural(value: Fraction, largest: int) -> int:
    if value.denominator != 1 or not 0 <= value <= largest:
        raise InexactError("not a natural number of a moderate size")
    return int(value)


def _factorial(value: Fraction) -> Fraction:
    return Fraction(math.factorial(_natural(value, _LARGEST_FACTORIAL)))


def _double_factorial(value: Fraction) -> Fraction:
    return Fraction(math.prod(range(_natural(value, _LARGEST_FACTORIAL), 0, -2)))


def _binomial(upper: Fraction, lower: Fraction) -> Fraction:
    count = _natural(lower, _LARGEST_FACTORIAL)
    if upper.denominator == 1 and upper >= 0:
        return Fraction(math.comb(_natural(upper, _LARGEST_FACTORIAL), count))
    if count > 100:
        raise InexactError("a large binomial coefficient")
    return _product(*(Fraction(upper - at, at + 1) for at in range(count)))


def _integers(values: tuple[Fraction, ...]) -> list[int]:
    if any(value.denominator != 1 for value in values):
        raise InexactError("not integers")
    return [int(value) for value in values]


def _log(value: Fraction, base: Fraction | None = None) -> Fraction:
    """Return the logarithm if it is an integer or a small fraction."""
    if base is None or value <= 0 or base <= 1:
        raise InexactError("an unusual logarithm")
    if value < 1:
        return -_log(1 / value, base)
    for denominator in (1, 2, 3, 4):
        raised, exponent, reached = value**denominator, 0, Fraction(1)
        while reached < raised and exponent < 1000:
            reached, exponent = _bounded(reached * base), exponent + 1
        if reached == raised:
            return Fraction(exponent, denominator)
    raise InexactError("an irrational logarithm")


_OPERATIONS: dict[str, Callable[..., Fraction]] = {
    "add": _sum,
    "multiply": _product,
    "negate": lambda value: -value,
    "divide": _divide,
    "power": power,
    "root": _root,
    "factorial": _factorial,
    "double_factorial": _double_factorial,
    "binomial": _binomial,
    "abs": abs,
    "floor": lambda value: Fraction(math.floor(value)),
    "ceil": lambda value: Fraction(math.ceil(value)),
    "gcd": lambda *values: Fraction(math.gcd(*_integers(values))),
    "lcm": lambda *values: Fraction(math.lcm(*_integers(values))),
    "max": lambda *values: max(values),
    "min": lambda *values: min(values),
    "percent": lambda value: value / 100,
    "log": _log,
    "sgn": lambda value: Fraction((value > 0) - (value < 0)),
    "re": lambda value: value,
    "conjugate": lambda value: value,
    "im": lambda _: Fraction(0),
}

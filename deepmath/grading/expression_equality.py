r"""Equality of two expressions, by exact or by numeric arithmetic.

Theory of operation. Expressions without names are equal if their difference is zero. Expressions with names are equal
if they agree at fixed points of all signs and several sizes; two different functions that answers consist of do not
agree at ten of them. Where both are real they must agree; complex values count only if that is too rare. So
\sqrt{x}^2 equals x, but \sqrt{x^2} does not.

A decimal number equals what it rounds: it must agree in its first six decimal places and in all of its own, and have
six significant digits. 0.333333 equals 1/3, and 0.333 does not.
"""

import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, Protocol

from deepmath.grading.answer_nodes import Application, Constant, Node, Number, Operation, names, walk
from deepmath.grading.exact_arithmetic import InexactError, Point, UndefinedError

_RANGES = [(2, 9), (10, 30), (30, 90), (3, 12), (-9, -2), (-30, -10), None, None, None, (200, 900), None, None]
"""Ranges of points in tenths; None is a mixture of signs."""
_STEPS = 1024
"""Steps within a tenth. Negative numbers have no real power with such an exponent: its denominator is even."""
_LEAST_POINTS = 3
_STEP = Fraction(1, 10**12)
_ROUNDED = 6
"""Decimal places, or significant digits, from which a decimal number may stand for what it rounds."""
_MOST_NAMES = 12
_VALUES = frozenset({"pi", "e", "i"})
_INTEGER_NAMES = frozenset("nkmjlNrst")


class Arithmetic(Protocol):
    """Evaluation of expressions: exact or numeric."""

    def zero(self, build: Callable[[Callable[[Node, Point], Any]], Any]) -> bool:
        """Return whether the number that `build` computes is zero."""

    def sign(self, build: Callable[[Callable[[Node, Point], Any]], Any]) -> int:
        """Return the sign of the number that `build` computes."""

    def approximate(self, node: Node) -> Fraction:
        """Return the value of `node`, which has no names."""

    def is_real(self, node: Node, point: Point) -> bool:
        """Return whether the value of `node` at `point` is real."""


class ExpressionEquality:
    """Equality by `arithmetic`. All methods return None where it cannot tell."""

    def __init__(self, arithmetic: Arithmetic) -> None:
        self._arithmetic = arithmetic

    def equal(self, gold: Node, answer: Node) -> bool | None:
        """Return whether two scalars are equal."""
        gold_value, gold_unit = _without_sign(gold)
        answer_value, answer_unit = _without_sign(answer)
        if "percent" in (gold_unit, answer_unit) and gold_unit != answer_unit:
            return self._equal_percentage(gold_value, answer_value, gold_unit == "percent")
        if "degree" in (gold_unit, answer_unit) and gold_unit != answer_unit:
            same = self._equal_values(gold_value, answer_value)
            return same if same is not False else self._equal_values(gold, answer)
        return self._equal_values(gold_value, answer_value)

    def _equal_percentage(self, gold: Node, answer: Node, gold_is_percent: bool) -> bool | None:
        """A number without a percent sign may stand for a percentage or for its hundredth; 0.5 is not 0.5%."""
        percent, bare = (gold, answer) if gold_is_percent else (answer, gold)
        same = self._equal_values(Operation("percent", (percent,)), bare)
        if same is not False:
            return same
        if not gold_is_percent:
            larger = self.order(Number(Fraction(1)), bare)
            if larger is None or larger >= 0:
                return None if larger is None else False
        return self._equal_values(percent, bare)

    def _equal_values(self, gold: Node, answer: Node) -> bool | None:
        if gold == answer and not any(isinstance(node, Operation) for node in walk(gold)):
            return True
        infinite = _infinity(gold), _infinity(answer)
        if any(infinite):
            return infinite[0] == infinite[1]
        if any(isinstance(one, Constant) and one.name not in _VALUES for one in (gold, answer)):
            return gold == answer
        used = names(gold) | names(answer)
        try:
            if used or any(isinstance(node, Application) for one in (gold, answer) for node in walk(one)):
                return self._equal_functions(gold, answer, sorted(used))
            literals = [one for one in (_decimal(gold), _decimal(answer)) if one is not None]
            if literals:
                return self._equal_rounded(gold, answer, literals)
            return self._arithmetic.zero(lambda value: value(gold, {}) - value(answer, {}))
        except InexactError:
            return None
        except UndefinedError:
            return False

    def _equal_rounded(self, gold: Node, answer: Node, literals: list[Number]) -> bool:
        expected, given = self._arithmetic.approximate(gold), self._arithmetic.approximate(answer)
        if len(literals) == 2:  # neither is exact, so they must agree in all digits that both have
            decimals = min(one.decimals or 0 for one in literals)
            if decimals > _ROUNDED and abs(expected - given) > Fraction(1, 2 * 10**decimals):
                return False
        return all(_rounds(literal, expected, given) for literal in literals)

    def _equal_functions(self, gold: Node, answer: Node, used: list[str]) -> bool | None:
        if len(used) > _MOST_NAMES:
            return None
        about_integers = _is_about_integers(gold, answer)
        try:
            same = self._agree(
                gold, answer, [*_points(used), *(_step_points(used) if _has_steps(gold, answer) else ())]
            )
        except InexactError:
            if not about_integers:
                raise
            same = False
        if same is False and about_integers:
            integers = [name for name in used if name.split("_")[0] in _INTEGER_NAMES]
            if integers:
                return self._agree(gold, answer, list(_integer_points(used)))
        return same

    def _agree(self, gold: Node, answer: Node, points: list[Point]) -> bool | None:
        """Return whether both agree at the points where both are real, or at all if these are too few."""
        real: list[Point] = []
        defined: list[Point] = []
        for point in points:
            try:
                if self._arithmetic.is_real(gold, point) and self._arithmetic.is_real(answer, point):
                    real.append(point)
                defined.append(point)
            except UndefinedError:
                continue
        chosen = real if len(real) >= _LEAST_POINTS else defined
        if not chosen:
            return None
        return all(
            self._arithmetic.zero(lambda value, point=point: value(gold, point) - value(answer, point))  # type: ignore[misc]
            for point in chosen
        )

    def proportional(self, left: Node, right: Node) -> int | None:
        """Return the sign of the constant factor between two functions, or 0 if there is none."""
        used = sorted(names(left) | names(right))
        try:
            return self._factor_sign(left, right, used)
        except InexactError:
            return None
        except UndefinedError:
            return 0

    def _factor_sign(self, left: Node, right: Node, used: list[str]) -> int:
        zero, sign = self._arithmetic.zero, self._arithmetic.sign
        points = [point for point in _points(used) if self._is_defined(point, left, right)]
        base = next((point for point in points if not zero(lambda value: value(left, point))), None)  # noqa: B023
        if base is None or zero(lambda value: value(right, base)):
            return 0
        for point in points:
            if not zero(
                lambda value: value(left, point) * value(right, base) - value(right, point) * value(left, base)  # noqa: B023
            ):
                return 0
        try:
            return sign(lambda value: value(left, base) / value(right, base))
        except InexactError:
            if used:
                return 1
            raise

    def _is_defined(self, point: Point, *nodes: Node) -> bool:
        try:
            for node in nodes:
                self._arithmetic.is_real(node, point)
        except UndefinedError:
            return False
        return True

    def order(self, left: Node, right: Node) -> int | None:
        """Return -1, 0 or 1 if `left` is less than, equal to or greater than `right`, both without names."""
        infinite = _infinity(left), _infinity(right)
        if any(infinite):
            if not all(infinite) and (names(left) or names(right)):
                return None
            return (infinite[0] > infinite[1]) - (infinite[0] < infinite[1])
        if names(left) or names(right):
            return None
        try:
            return self._arithmetic.sign(lambda value: value(left, {}) - value(right, {}))
        except (InexactError, UndefinedError):
            return None

    def value_at(self, node: Node, point: Point) -> Fraction | None:
        """Return the exact value of `node` at `point`, or None."""
        from deepmath.grading.exact_arithmetic import exact_value

        try:
            return exact_value(node, point)
        except (InexactError, UndefinedError):
            return None


def _without_sign(node: Node) -> tuple[Node, str]:
    """Return a scalar without its percent or degree sign, and which that was."""
    if isinstance(node, Operation) and node.operator in ("percent", "degree"):
        return node.operands[0], node.operator
    if isinstance(node, Operation) and node.operator == "negate":
        inner, sign = _without_sign(node.operands[0])
        return Operation("negate", (inner,)), sign
    return node, ""


def _infinity(node: Node) -> int:
    """Return the sign of an infinite constant, and 0 for all else."""
    if node == Constant("infinity"):
        return 1
    if isinstance(node, Operation) and node.operator == "negate":
        return -_infinity(node.operands[0])
    return 0


def _decimal(node: Node) -> Number | None:
    """Return the decimal number that `node` is, without its sign: also 1.2 * 10^5 and 12.5%."""
    match node:
        case Number(_, decimals) if decimals is not None:
            return node
        case Operation("negate", (inner,)):
            return _decimal(inner)
        case Operation("percent", (inner,)):
            found = _decimal(inner)
            return found and Number(found.value / 100, (found.decimals or 0) + 2, found.digits)
        case Operation(
            "multiply", (Number() as mantissa, Operation("power", (Number(Fraction(numerator=10)), exponent)))
        ):
            shift = _small_integer(exponent)
            if mantissa.decimals is not None and shift is not None:
                return Number(mantissa.value, max(mantissa.decimals - shift, 0), mantissa.digits)
    return None


def _small_integer(node: Node) -> int | None:
    if isinstance(node, Operation) and node.operator == "negate":
        inner = _small_integer(node.operands[0])
        return None if inner is None else -inner
    if isinstance(node, Number) and node.value.denominator == 1 and abs(node.value) < 5000:
        return int(node.value)
    return None


def _rounds(literal: Number, one: Fraction, other: Fraction) -> bool:
    """Return whether two numbers, one of which is written as `literal`, agree as closely as it can tell."""
    distance, size = abs(one - other), max(abs(one), abs(other))
    decimals = literal.decimals or 0
    if round(one, _ROUNDED) != round(other, _ROUNDED) or distance > size / 10_000:
        return False
    if decimals <= _ROUNDED:
        return True
    if literal.digits < _ROUNDED:
        return distance <= size / 10**12
    return distance <= max(Fraction(1, 10**decimals), size / 10**15)


def _points(used: list[str]) -> Iterator[Point]:
    """Yield points for these names."""
    for at, bounds in enumerate(_RANGES):
        point = {}
        for name in used:
            seed = zlib.crc32(f"{at} {name}".encode(errors="replace"))
            low, high = bounds or (5, 40)
            value = Fraction(low, 10) + Fraction(2 * (seed % (_STEPS * (high - low))) + 1, 32 * _STEPS)
            point[name] = -value if bounds is None and seed >> 31 else value
        yield point


def _integer_points(used: list[str]) -> Iterator[Point]:
    for at, point in enumerate(_points(used)):
        yield {
            name: Fraction(2 + zlib.crc32(f"{at} {name} integer".encode(errors="replace")) % 11)
            if name.split("_")[0] in _INTEGER_NAMES
            else value
            for name, value in point.items()
        }


def _step_points(used: list[str]) -> Iterator[Point]:
    """Yield integers, halves and points close to these, where floors and ceilings jump."""
    for at, offset in enumerate([Fraction(0)] * 2 + [_STEP] * 2 + [-_STEP] * 2 + [Fraction(1, 2)]):
        yield {name: zlib.crc32(f"{at} {name} step".encode(errors="replace")) % 9 - 2 + offset for name in used}


def _has_steps(*nodes: Node) -> bool:
    return any(
        isinstance(node, Operation) and node.operator in ("floor", "ceil", "sgn") for one in nodes for node in walk(one)
    )


def _is_about_integers(*nodes: Node) -> bool:
    r"""Return whether a name stands for an integer: in factorials, (-1)^n, sums up to n and so on."""
    for node in (inner for one in nodes for inner in walk(one)):
        match node:
            case Operation(
                "factorial" | "double_factorial" | "binomial" | "sum" | "prod" | "gcd" | "lcm" | "floor" | "ceil"
            ):
                return True
            case Operation("power", (Operation("negate"), exponent)) if names(exponent):
                return True
            case Operation("power", (Constant("i"), exponent)) if names(exponent):
                return True
    return False

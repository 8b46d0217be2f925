"""Arithmetic on expressions with mpmath, in as many digits as a comparison needs.

It runs only inside a sandbox: hostile expressions cost more time and memory than a caller may spend.

Theory of operation. A number counts as zero if it vanishes both in P and in 2P digits, relative to its own error: the
value of a number that is not zero agrees in both, whereas that of a zero is rounding noise, which shrinks with the
precision; one that grows instead has no limit. P grows with the orders of magnitude that meet in sums and functions,
so that the last term of 1 - 2^{-1100} is never rounded away. No value is ever compared absolutely.
"""

import zlib
from collections.abc import Callable
from fractions import Fraction
from math import prod
from typing import Any

from deepmath.grading.answer_nodes import Application, Constant, Name, Node, Number, Operation
from deepmath.grading.exact_arithmetic import InexactError, Point, UndefinedError, exact_value

_LEAST_DIGITS = 40
_MOST_DIGITS = 20_000
_LARGEST_MAGNITUDE = 100_000
"""Binary digits of the exponent of a value that functions other than a power accept."""
_LARGEST_EXPONENT = 20_000
_MOST_TERMS = 10_000
_MOST_STEPS = 100_000
_BITS_PER_DIGIT = 0.30103

Build = Callable[[Callable[[Node, Point], Any]], Any]


class NumericArithmetic:
    """Evaluation with floating-point numbers of any precision. `log_base` is that of a logarithm without a base."""

    def __init__(self, log_base: str = "10") -> None:
        self._log_base = log_base

    def zero(self, build: Build) -> bool:
        """Return whether the number that `build` computes, given a function for the values of nodes, is zero.

        Raises:
            InexactError: It takes more digits or steps than there are.
            UndefinedError: The number is undefined.
        """
        return self._settled(build) is None

    def sign(self, build: Build) -> int:
        """Return the sign of the real number that `build` computes: -1, 0 or 1.

        Raises:
            InexactError: It takes more digits or steps than there are, or is complex.
            UndefinedError: The number is undefined.
        """
        value = self._settled(build)
        if value is None:
            return 0
        if getattr(value, "imag", 0) and abs(value.imag) > abs(value.real) / 10**15:
            raise InexactError("a complex number has no sign")
        return 1 if value.real > 0 else -1

    def approximate(self, node: Node) -> Fraction:
        """Return the value of `node`, which is a real number without names, with an error beyond 30 digits.

        Raises:
            InexactError: It takes more digits or steps than there are, or is complex.
            UndefinedError: The value is undefined.
        """
        import mpmath

        with mpmath.workdps(2 * _LEAST_DIGITS):
            value = mpmath.mpmathify(_NumericEvaluation(self._log_base).value(node, {}))
            if getattr(value, "imag", 0) and abs(value.imag) > abs(value.real) / 10**30:
                raise InexactError("a complex number")
            real = mpmath.mpf(value.real)
            if not mpmath.isfinite(real) or abs(real.exp) > _LARGEST_EXPONENT:
                raise InexactError("a number of an extreme size")
            return (-1 if real < 0 else 1) * int(real.man) * Fraction(2) ** int(real.exp)

    def is_real(self, node: Node, point: Point) -> bool:
        """Return whether the value of `node` at `point` is a real number, and all on the way to it are.

        Raises:
            InexactError: It takes more digits or steps than there are.
            UndefinedError: The value is undefined.
        """
        import mpmath

        with mpmath.workdps(_LEAST_DIGITS):
            evaluation = _NumericEvaluation(self._log_base)
            value = mpmath.mpmathify(evaluation.value(node, point))
            if evaluation.is_complex:
                return False
            return not getattr(value, "imag", 0) or abs(value.imag) <= abs(value.real) / 10**20

    def _settled(self, build: Build) -> Any:
        """Return the number that `build` computes, or None if it is zero."""
        import mpmath

        digits = _LEAST_DIGITS
        while True:
            found, needed = [], _LEAST_DIGITS
            for precision in (digits, 2 * digits):
                with mpmath.workdps(precision):
                    evaluation = _NumericEvaluation(self._log_base)
                    value = mpmath.mpmathify(build(evaluation.value))
                    if not mpmath.isfinite(value):
                        raise UndefinedError("no finite value")
                    found.append(value)
                    needed = max(needed, _LEAST_DIGITS + int(1.1 * _BITS_PER_DIGIT * evaluation.span))
            with mpmath.workdps(2 * digits):
                if found[1] and abs(found[0] - found[1]) <= abs(found[1]) / 100:
                    return found[1]
                vanishes = not found[1] or abs(found[1]) <= abs(found[0]) * mpmath.mpf(10) ** (-digits // 4)
                if not vanishes and found[0]:  # tan 90° grows with the precision
                    raise UndefinedError("no value that settles")
            if digits >= needed and vanishes:
                return None
            digits = max(2 * digits, needed)
            if digits > _MOST_DIGITS:
                raise InexactError("too many digits")


class _NumericEvaluation:
    """One evaluation at the current precision of mpmath."""

    def __init__(self, log_base: str) -> None:
        self.span = 0
        """Orders of magnitude, in binary digits, that met in sums and functions."""
        self.is_complex = False
        """Whether a root, power or function of real numbers was complex."""
        self._log_base = log_base
        self._steps = 0

    def value(self, node: Node, point: Point) -> Any:
        """Return the value of `node`, where names have their values in `point`.

        Raises:
            InexactError: It takes too many steps, or has no number.
            UndefinedError: It is undefined.
        """
        import mpmath as mp

        found = self._value(node, point)
        self.is_complex = self.is_complex or isinstance(found, mp.mpc)
        return found

    def _value(self, node: Node, point: Point) -> Any:
        import mpmath as mp

        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise InexactError("too many steps")
        match node:
            case Number(value):
                return mp.mpf(value.numerator) / value.denominator
            case Name(text) if text in point:
                return mp.mpf(point[text].numerator) / point[text].denominator
            case Constant("pi"):
                return +mp.pi
            case Constant("e"):
                return +mp.e
            case Constant("i"):
                return mp.mpc(0, 1)
            case Application(function, arguments):
                return self._unknown(function, [self.value(one, point) for one in arguments])
            case Operation("sum" | "prod" as operator, (Name() | Constant() as index, start, stop, body)):
                name = index.text if isinstance(index, Name) else index.name
                return self._series(operator, name, start, stop, body, point)
            case Operation("power" | "root", (base, exponent)):
                return self._power(self.value(base, point), exponent, point, inverted=node.operator == "root")
            case Operation("log", (argument,)):
                value = self._logarithm(self.value(argument, point))
                return value / mp.log(10) if self._log_base == "10" else value
            case Operation("log", (argument, base)):
                divisor = self._logarithm(self.value(base, point))
                if not divisor:
                    raise UndefinedError("a logarithm to the base of one")
                return self._logarithm(self.value(argument, point)) / divisor
            case Operation(operator, operands):
                return self._apply(operator, [self.value(one, point) for one in operands])
        raise InexactError("no number")

    def _apply(self, operator: str, values: list[Any]) -> Any:
        import mpmath as mp

        if operator == "add":
            self._meet(values)
            return sum(values[1:], values[0])
        if operator == "multiply":
            return prod(values[1:], start=values[0])
        if operator == "negate":
            return -values[0]
        if operator == "divide":
            if not values[1]:
                raise UndefinedError("division by zero")
            return values[0] / values[1]
        if operator == "percent":
            return values[0] / 100
        if operator == "degree":
            return values[0] * mp.pi / 180
        if operator == "ln":
            return self._logarithm(values[0])
        if operator not in _FUNCTIONS:
            raise InexactError(f"no numbers for {operator}")
        for value in values:
            self._moderate(value)
        try:
            return _FUNCTIONS[operator](mp, *values)
        except (ValueError, ZeroDivisionError, TypeError, OverflowError) as error:
            raise UndefinedError(str(error)) from None

    def _meet(self, values: list[Any]) -> None:
        import mpmath as mp

        magnitudes = [int(mp.mag(value)) for value in values if value and mp.isfinite(value)]
        if magnitudes:
            self.span += max(magnitudes) - min(magnitudes)

    def _moderate(self, value: Any) -> None:
        """Record the size of an argument, and reject one of an extreme size."""
        import mpmath as mp

        if not mp.isfinite(value):
            raise UndefinedError("an infinite argument")
        size = abs(int(mp.mag(value))) if value else 0
        if size > _LARGEST_MAGNITUDE:
            raise InexactError("an argument of an extreme size")
        self.span += size

    def _logarithm(self, value: Any) -> Any:
        import mpmath as mp

        if not value:
            raise UndefinedError("the logarithm of zero")
        self._meet([value - 1, value]) if value != 1 else None
        return mp.log(value)

    def _power(self, base: Any, exponent: Node, point: Point, inverted: bool) -> Any:
        """Return a power, real where the base is negative and the exponent has an odd denominator."""
        import mpmath as mp

        try:
            rational: Fraction | None = exact_value(exponent, point)
        except InexactError:
            rational = None
        if rational is not None and inverted:
            if not rational:
                raise UndefinedError("a root of degree zero")
            rational = 1 / rational
        value = self.value(exponent, point)
        if inverted:
            value = 1 / value if value else value
        if not base:
            if isinstance(value, mp.mpc) or value < 0:
                raise UndefinedError("a negative power of zero")
            return mp.mpf(1) if not value else mp.mpf(0)
        if value:
            self._moderate(value)
            logarithm = mp.log(base)
            if logarithm and int(mp.mag(value * logarithm)) > _LARGEST_MAGNITUDE // 10:
                raise InexactError("a power of an extreme size")
        if rational is not None:
            if rational.denominator == 1 and rational.numerator.bit_length() < 64:
                return base ** int(rational)
            if rational.denominator % 2 and not isinstance(base, mp.mpc) and base < 0:
                return (-1) ** (rational.numerator % 2) * (-base) ** (mp.mpf(rational.numerator) / rational.denominator)
        return mp.power(base, value)

    def _series(self, operator: str, index: str, start: Node, stop: Node, body: Node, point: Point) -> Any:
        import mpmath as mp

        first, last = exact_value(start, point), exact_value(stop, point)
        if first.denominator != 1 or last.denominator != 1 or last - first > _MOST_TERMS:
            raise InexactError("too many terms")
        terms = [self.value(body, {**point, index: Fraction(at)}) for at in range(int(first), int(last) + 1)]
        if operator == "prod":
            return prod(terms, start=mp.mpf(1))
        self._meet(terms)
        return sum(terms, mp.mpf(0))

    def _unknown(self, function: str, arguments: list[Any]) -> Any:
        """Return the value of an unknown function: any smooth one that its name determines."""
        import mpmath as mp

        total = mp.mpf(zlib.crc32(function.encode(errors="replace")) % 10_007) / 1009
        for at, argument in enumerate(arguments):
            self._moderate(argument)
            total += mp.sin(argument * (at + 2) / 7) + argument / (at + 3)
        return mp.cos(total / 3) + total / 5


def _integers_only(name: str) -> Callable[..., Any]:
    def refuse(*_: Any) -> Any:
        raise InexactError(f"{name} of numbers that are not integers")

    return refuse


def _real(mp: Any, value: Any) -> Any:
    if isinstance(value, mp.mpc):
        raise UndefinedError("a complex number has no order")
    return value


def _library_function(name: str) -> Callable[..., Any]:
    return lambda mp, value: getattr(mp, name)(value)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{
        name: _library_function(function)
        for name, function in {
            **{name: name for name in "sin cos tan cot sec csc sinh cosh tanh coth sech csch exp".split()},
            **{f"arc{name}": f"a{name}" for name in "sin cos tan cot sec csc sinh cosh tanh".split()},
            "factorial": "factorial",
            "double_factorial": "fac2",
            "abs": "fabs",
            "re": "re",
            "im": "im",
            "conjugate": "conj",
            "sgn": "sign",
        }.items()
    },
    "floor": lambda mp, value: mp.floor(_real(mp, value)),
    "ceil": lambda mp, value: mp.ceil(_real(mp, value)),
    "binomial": lambda mp, upper, lower: mp.binomial(upper, lower),
    "max": lambda mp, *values: max(_real(mp, value) for value in values),
    "min": lambda mp, *values: min(_real(mp, value) for value in values),
    "gcd": _integers_only("gcd"),
    "lcm": _integers_only("lcm"),
}

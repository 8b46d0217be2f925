"""Sets of real numbers: unions of intervals and points, from intervals, inequalities and set operations.

Endpoints are expressions. They are ordered by `ExpressionEquality`; sets whose endpoints have no known order are not
united or intersected.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cmp_to_key
from typing import NamedTuple

from deepmath.grading.answer_nodes import (
    Bracketed,
    Builder,
    Chain,
    Collection,
    Constant,
    Listing,
    Name,
    Node,
    Number,
    Operation,
    names,
)
from deepmath.grading.exact_arithmetic import InexactError, UndefinedError, exact_value
from deepmath.grading.expression_equality import ExpressionEquality

_MOST_INTERVALS = 30
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}
_INEQUALITIES = frozenset({"<", ">", "<=", ">=", "!="})
_INFINITY = Constant("infinity")
_LESS = Operation("negate", (_INFINITY,))
_ZERO = Number(Fraction(0))


class NoRealSetError(Exception):
    """The answer is not a set of real numbers, or not one that can be solved for."""


class Interval(NamedTuple):
    """An interval, or a point."""

    low: Node
    has_low: bool
    high: Node
    has_high: bool


RealSet = tuple[Interval, ...]
EVERYTHING: RealSet = (Interval(_LESS, False, _INFINITY, False),)


class RealSets:
    """Conversion and comparison of sets, with the order of their endpoints from `equality`."""

    def __init__(self, equality: ExpressionEquality) -> None:
        self._equality = equality

    def of(self, node: Node, subject: str | None = None) -> RealSet:
        """Return the set that `node` is or that its conditions describe; `subject` is the name in them.

        Raises:
            NoRealSetError: It is none.
        """
        match node:
            case Bracketed("(" | "[" as opening, ")" | "]" as closing, (low, high)):
                return self._interval(low, opening == "[", high, closing == "]")
            case Constant("R"):
                return EVERYTHING
            case Constant("R+"):
                return (Interval(_ZERO, False, _INFINITY, False),)
            case Constant("R>=0"):
                return (Interval(_ZERO, True, _INFINITY, False),)
            case Constant("R-"):
                return (Interval(_LESS, False, _ZERO, False),)
            case Constant("empty"):
                return ()
            case Collection(items) if not any(isinstance(item, Bracketed | Chain | Constant) for item in items):
                return self._union([(Interval(item, True, item, True),) for item in items])
            case Operation("union", sets):
                return self._union([self.of(one, subject) for one in sets])
            case Operation("intersection", (one, other)):
                return self._intersection(self.of(one, subject), self.of(other, subject))
            case Operation("difference", (one, other)):
                return self._intersection(self.of(one, subject), self._complement(self.of(other, subject)))
            case Builder(Name(text), conditions) if names(conditions) == {text} or text in names(conditions):
                return self.of(conditions, text)
            case Builder(Chain((Name(text), domain), ("in",)), conditions) if text in names(conditions):
                return self._intersection(self.of(domain, text), self.of(conditions, text))
            case Chain((Name(text), inner), ("in",)) if subject in (None, text):
                return self.of(inner)
            case Chain((Name(text), inner), ("notin",)) if subject in (None, text):
                return self._complement(self.of(inner))
            case Chain(operands, relations):
                return self._chain(operands, relations, subject)
            case Listing(items, joiner):
                return self._list(items, joiner, subject)
        raise NoRealSetError

    def equal(self, one: RealSet, other: RealSet) -> bool | None:
        """Return whether two sets are equal, or None if their endpoints cannot be compared."""
        if len(one) != len(other):
            return False
        found: bool | None = True
        for left, right in zip(one, other, strict=True):
            if (left.has_low, left.has_high) != (right.has_low, right.has_high):
                return False
            for pair in ((left.low, right.low), (left.high, right.high)):
                same = self._equality.equal(*pair)
                if same is False:
                    return False
                found = found if same else None
        return found

    def _list(self, items: Sequence[Node], joiner: str, subject: str | None) -> RealSet:
        used = set().union(*map(names, items))
        if subject is None and len(used) == 1:
            subject = next(iter(used))
        sets = [self.of(item, subject) for item in items]
        if joiner == "or":
            return self._union(sets)
        found = sets[0]
        for one in sets[1:]:
            found = self._intersection(found, one)
        if joiner == "," and not found and all(sets):  # x < 1, x > 2 can only mean `or`
            return self._union(sets)
        return found

    def _interval(self, low: Node, has_low: bool, high: Node, has_high: bool) -> RealSet:
        order = self._equality.order(low, high)
        if order is None and names(low) | names(high):
            order = -1
        if order is None:
            raise NoRealSetError
        if order > 0 or (order == 0 and not (has_low and has_high)):
            return ()
        return (Interval(low, has_low and low != _LESS, high, has_high and high != _INFINITY),)

    def _chain(self, operands: Sequence[Node], relations: Sequence[str], subject: str | None) -> RealSet:
        explicit = subject is not None
        used = set().union(*map(names, operands))
        subject = subject or (next(iter(used)) if len(used) == 1 else _sole_name(operands))
        if (
            subject is None
            or not set(relations) <= _INEQUALITIES | {"="}
            or (not explicit and not set(relations) & _INEQUALITIES)
        ):
            raise NoRealSetError
        found = EVERYTHING
        for left, relation, right in zip(operands, relations, operands[1:], strict=False):
            found = self._intersection(found, self._inequality(left, relation, right, subject))
        return found

    def _inequality(self, left: Node, relation: str, right: Node, subject: str) -> RealSet:
        if right == Name(subject) and left != right:
            left, relation, right = right, _FLIPPED[relation], left
        if left == Name(subject) and subject not in names(right):
            return self._half(right, relation)
        absolute, bound = (left, right) if isinstance(left, Operation) and left.operator == "abs" else (right, left)
        if isinstance(absolute, Operation) and absolute.operator == "abs" and subject not in names(bound):
            return self._absolute(
                absolute.operands[0], relation if absolute is left else _FLIPPED[relation], bound, subject
            )
        return self._polynomial(Operation("add", (left, Operation("negate", (right,)))), relation, subject)

    def _half(self, bound: Node, relation: str) -> RealSet:
        if relation in (">", ">="):
            return (Interval(bound, relation == ">=" and bound != _LESS, _INFINITY, False),)
        if relation in ("<", "<="):
            return (Interval(_LESS, False, bound, relation == "<=" and bound != _INFINITY),)
        if relation == "=":
            return (Interval(bound, True, bound, True),)
        return (Interval(_LESS, False, bound, False), Interval(bound, False, _INFINITY, False))

    def _absolute(self, inner: Node, relation: str, bound: Node, subject: str) -> RealSet:
        least = Operation("negate", (bound,))
        if relation in ("<", "<=", "="):
            inside = [
                self._inequality(inner, relation, bound, subject),
                self._inequality(inner, _FLIPPED[relation], least, subject),
            ]
            return self._union(inside) if relation == "=" else self._intersection(*inside)
        flipped = "!=" if relation == "!=" else _FLIPPED[relation]
        outside = [self._inequality(inner, relation, bound, subject), self._inequality(inner, flipped, least, subject)]
        return self._intersection(*outside) if relation == "!=" else self._union(outside)

    def _polynomial(self, node: Node, relation: str, subject: str) -> RealSet:
        """Solve a linear or quadratic inequality with rational coefficients."""
        if names(node) != {subject}:
            raise NoRealSetError
        try:
            values = [exact_value(node, {subject: Fraction(at)}) for at in (0, 1, -1)]
            constant, square = values[0], (values[1] + values[2]) / 2 - values[0]
            linear = values[1] - constant - square
            for at in (Fraction(7, 3), Fraction(-31, 5), Fraction(1003, 11), Fraction(-5003, 13)):
                if exact_value(node, {subject: at}) != square * at * at + linear * at + constant:
                    raise NoRealSetError
        except (InexactError, UndefinedError):
            raise NoRealSetError from None
        if not square and linear:
            return self._half(Number(-constant / linear), relation if linear > 0 else _FLIPPED[relation])
        roots = _roots(square, linear, constant)
        if square and len(roots) == 2:
            between: RealSet = (Interval(roots[0], False, roots[1], False),)
            outside: RealSet = (Interval(_LESS, False, roots[0], False), Interval(roots[1], False, _INFINITY, False))
            at_roots = tuple(Interval(one, True, one, True) for one in roots)
        else:
            between, outside = (), EVERYTHING
            at_roots = tuple(Interval(one, True, one, True) for one in roots)
            if roots:
                outside = self._complement(at_roots)
        positive = (outside if square > 0 else between) if square else (EVERYTHING if constant > 0 else ())
        negative = (between if square > 0 else outside) if square else (EVERYTHING if constant < 0 else ())
        zero = at_roots if square or constant else EVERYTHING
        parts = {">": [positive], ">=": [positive, zero], "<": [negative], "<=": [negative, zero], "=": [zero],
                 "!=": [positive, negative]}[relation]  # fmt: skip
        return self._union(parts)

    def _compare(self, left: Node, right: Node) -> int:
        if left == right:
            return 0
        order = self._equality.order(left, right)
        if order is None:
            raise NoRealSetError
        return order

    def _compare_starts(self, one: Interval, other: Interval) -> int:
        return self._compare(one.low, other.low) or other.has_low - one.has_low

    def _union(self, sets: Sequence[RealSet]) -> RealSet:
        intervals = [interval for one in sets for interval in one]
        if len(intervals) > _MOST_INTERVALS:
            raise NoRealSetError
        intervals.sort(key=cmp_to_key(self._compare_starts))
        found: list[Interval] = []
        for interval in intervals:
            if not found:
                found.append(interval)
                continue
            last = found[-1]
            gap = self._compare(last.high, interval.low)
            if gap > 0 or (gap == 0 and (last.has_high or interval.has_low)):
                order = self._compare(last.high, interval.high)
                high, has_high = (interval.high, interval.has_high) if order < 0 else (last.high, last.has_high)
                if order == 0:
                    has_high = last.has_high or interval.has_high
                found[-1] = Interval(last.low, last.has_low, high, has_high)
            else:
                found.append(interval)
        return tuple(found)

    def _intersection(self, one: RealSet, other: RealSet) -> RealSet:
        if one == EVERYTHING or other == EVERYTHING:
            return other if one == EVERYTHING else one
        if len(one) * len(other) > _MOST_INTERVALS**2:
            raise NoRealSetError
        found = [overlap for left in one for right in other for overlap in self._overlap(left, right)]
        return self._union([tuple(found)])

    def _overlap(self, left: Interval, right: Interval) -> RealSet:
        if left.low == _LESS or right.low == _LESS:
            low, has_low = (right.low, right.has_low) if left.low == _LESS else (left.low, left.has_low)
        else:
            order = self._compare(left.low, right.low)
            low, has_low = (left.low, left.has_low) if order > 0 else (right.low, right.has_low)
            has_low = left.has_low and right.has_low if order == 0 else has_low
        if left.high == _INFINITY or right.high == _INFINITY:
            high, has_high = (right.high, right.has_high) if left.high == _INFINITY else (left.high, left.has_high)
        else:
            order = self._compare(left.high, right.high)
            high, has_high = (left.high, left.has_high) if order < 0 else (right.high, right.has_high)
            has_high = left.has_high and right.has_high if order == 0 else has_high
        return self._interval(low, has_low, high, has_high)

    def _complement(self, one: RealSet) -> RealSet:
        found: list[Interval] = []
        low: Node = _LESS
        has_low = False
        for interval in one:
            if interval.low != _LESS:
                found.extend(self._interval(low, has_low, interval.low, not interval.has_low))
            low, has_low = interval.high, not interval.has_high
        if low != _INFINITY:
            found.append(Interval(low, has_low, _INFINITY, False))
        return tuple(found)


def _roots(square: Fraction, linear: Fraction, constant: Fraction) -> list[Node]:
    """Return the real roots of a quadratic polynomial, the smaller first."""
    if not square:
        return []
    discriminant = linear * linear - 4 * square * constant
    if discriminant < 0:
        return []
    if discriminant == 0:
        return [Number(-linear / (2 * square))]
    half: Callable[[Node], Node] = lambda part: Operation("add", (Number(-linear / (2 * square)), part))  # noqa: E731
    offset = Operation(
        "divide", (Operation("root", (Number(discriminant), Number(Fraction(2)))), Number(abs(2 * square)))
    )
    return [half(Operation("negate", (offset,))), half(offset)]


def _sole_name(operands: Sequence[Node]) -> str | None:
    """Return the name that is an operand by itself, between bounds that may have names: a < x < b."""
    found = [operand.text for operand in operands if isinstance(operand, Name)]
    if len(operands) == 3 and isinstance(operands[1], Name):
        return operands[1].text
    return found[0] if len(operands) == 2 and len(found) == 1 else None

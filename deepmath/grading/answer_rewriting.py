r"""Equivalent forms of answers: \pm as two answers, k in Z with bounds as its elements, x = 7k + 3 as a congruence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product

from deepmath.grading.answer_nodes import (
    Application,
    Bracketed,
    Builder,
    Chain,
    Collection,
    Congruence,
    Constant,
    Ellipsis,
    Listing,
    Matrix,
    Name,
    Node,
    Number,
    Operation,
    Qualified,
    names,
    rename,
)
from deepmath.grading.exact_arithmetic import ExactArithmetic, InexactError, UndefinedError, exact_value
from deepmath.grading.expression_equality import ExpressionEquality
from deepmath.grading.real_sets import NoRealSetError, RealSets

_MOST_INTEGERS = 1000
_LARGEST_MODULUS = 5000
_MOST_SIGNS = 4
_LESS = Operation("negate", (Constant("infinity"),))
_DOMAINS: dict[str, tuple[int | None, ...]] = {"Z": (None,), "Z+": (1,), "Z>=0": (0,), "N": (1, 0)}
"""The least element of each set of integers; natural numbers start at 1 or 0, as one likes."""


@dataclass(frozen=True)
class Progression:
    """An arithmetic progression, perhaps without an end."""

    first: Node
    step: Node
    last: Node | None


@dataclass(frozen=True)
class ResidueClasses:
    """Integers by their residues, for the smallest modulus."""

    subject: str
    modulus: int
    residues: frozenset[int]


def expand_signs(node: Node) -> list[Node]:
    r"""Return the lists that an answer with \pm stands for: with signs that go together, and with independent ones."""
    together = _expand(node, independent=False)
    independent = _expand(node, independent=True)
    found = [together] if together == independent else [together, independent]
    return [Collection(tuple(one)) if isinstance(node, Collection) else _listing(one) for one in found]


def _listing(items: list[Node]) -> Node:
    return items[0] if len(items) == 1 else Listing(tuple(items), ",")


def _expand(node: Node, independent: bool) -> list[Node]:
    match node:
        case Listing(items) | Collection(items):
            return [one for item in items for one in _expand(item, independent)]
        case Congruence(subject, residue, modulus):
            return [Congruence(subject, one, modulus) for one in _expand(residue, independent)]
        case Chain((Name() | Application() | Bracketed() as head, value), ("=",)):
            return [Chain((head, one), ("=",)) for one in _expand(value, independent)]
    count = _count_signs(node)
    if not count:
        return [node]
    if not independent:
        return [_choose(node, iter([sign] * count)) for sign in (True, False)]
    if count > _MOST_SIGNS:
        return [node]
    return [_choose(node, iter(signs)) for signs in product((True, False), repeat=count)]


def _count_signs(node: Node) -> int:
    own = isinstance(node, Operation) and node.operator in ("plus_minus", "minus_plus")
    match node:
        case Operation(_, operands) | Bracketed(_, _, operands) | Application(_, operands) | Chain(operands):
            return own + sum(map(_count_signs, operands))
        case Matrix(rows):
            return sum(_count_signs(cell) for row in rows for cell in row)
    return 0


def _choose(node: Node, signs: object) -> Node:
    """Return `node` with each sign replaced by plus or minus, in the order of `signs`."""
    match node:
        case Operation("plus_minus" | "minus_plus" as operator, (operand,)):
            plus = next(signs) == (operator == "plus_minus")  # type: ignore[call-overload]
            chosen = _choose(operand, signs)
            return chosen if plus else Operation("negate", (chosen,))
        case Operation(operator, operands):
            return Operation(operator, tuple(_choose(one, signs) for one in operands))
        case Application(function, arguments):
            return Application(function, tuple(_choose(one, signs) for one in arguments))
        case Bracketed(opening, closing, items):
            return Bracketed(opening, closing, tuple(_choose(one, signs) for one in items))
        case Chain(operands, relations):
            return Chain(tuple(_choose(one, signs) for one in operands), relations)
        case Matrix(rows):
            return Matrix(tuple(tuple(_choose(cell, signs) for cell in row) for row in rows))
    return node


def share_heads(node: Node) -> tuple[Node, ...]:
    """Return the elements of a list or set, each with the name that only the first one has: x = 1, 2."""
    match node:
        case Chain((Name() as head, Collection(items)), ("in" | "=",)):
            return tuple(Chain((head, item), ("=",)) for item in items)
        case Chain((Bracketed(_, _, heads) as head, Collection(items)), ("in",)):
            if all(isinstance(one, Name) for one in heads):
                return tuple(Chain((head, item), ("=",)) for item in items)
            return (node,)
        case Listing(items) | Collection(items):
            found = list(items)
        case _:
            return (node,)
    first = found[0]
    if isinstance(first, Chain) and first.relations == ("=",) and isinstance(first.operands[0], Name | Bracketed):
        head = first.operands[0]
        if not any(isinstance(item, Chain) for item in found[1:]):
            found = [first, *(Chain((head, item), ("=",)) for item in found[1:])]
    return tuple(found)


def values_of_unknown(items: Sequence[Node]) -> tuple[str, tuple[Node, ...]]:
    """Return the name and the values if all items assign to one name, also if that is numbered: x_1 = 2, x_2 = 3.

    The name is empty if they do not.
    """
    if not is_of_one_unknown(items) and not (len(items) == 1 and is_of_one_unknown([*items, *items])):
        return "", tuple(items)
    chains = [item for item in items if isinstance(item, Chain)]
    head = chains[0].operands[0]
    name = head.text.partition("_")[0] if isinstance(head, Name) and len(items) > 1 else getattr(head, "text", "")
    return name, tuple(chain.operands[1] for chain in chains)


def is_of_one_unknown(items: Sequence[Node]) -> bool:
    r"""Return whether the items are x_1 = 2, x_2 = 3: numbered solutions of one unknown."""
    heads = []
    for item in items:
        if not isinstance(item, Chain) or item.relations != ("=",) or not isinstance(item.operands[0], Name):
            return False
        heads.append(item.operands[0].text)
    return len(heads) > 1 and len({head.partition("_")[0] for head in heads}) == 1


def assignments(node: Node) -> list[tuple[str, Node]] | None:
    """Return the values of several names in the order of these: x = 1, y = 2, or (x, y) = (1, 2)."""
    match node:
        case Chain((Bracketed(_, _, heads), Bracketed("(", ")", values)), ("=",)) if len(heads) == len(values):
            if all(isinstance(head, Name) for head in heads):
                return [(head.text, value) for head, value in zip(heads, values, strict=True) if isinstance(head, Name)]
        case Listing(items):
            found = []
            for item in items:
                match item:
                    case Chain((Name(text), value), ("=",)):
                        found.append((text, value))
                    case _:
                        return None
            return sorted(found, key=lambda one: one[0]) if len({text for text, _ in found}) == len(found) else None
    return None


def split_builder(node: Node) -> Node:
    r"""Return a set of values of an expression, \{2k+1 \mid k \in Z\}, as that expression with conditions."""
    match node:
        case Chain((_, Builder() as builder), ("in",)):
            split = split_builder(builder)
            return node if split is builder else split
        case Builder(pattern, conditions) if not isinstance(pattern, Name | Chain | Bracketed):
            own = conditions.items if isinstance(conditions, Listing) else (conditions,)
            return Qualified(pattern, own)
        case Listing((Chain((Name(), Constant("Z" | "N" | "Z+" | "Z>=0")), ("in",)), *rest)) if rest:
            first = node.items[0]
            assert isinstance(first, Chain)
            return Builder(first, rest[0] if len(rest) == 1 else Listing(tuple(rest), "and"))
        case Qualified(
            Chain((Name(text), _, *_), _) as core,
            (Chain((Name(other), Constant("Z" | "N" | "Z+" | "Z>=0")), ("in",)) as domain,),
        ) if text == other or names(core) == {other}:
            if set(core.relations) <= {"<", ">", "<=", ">="}:
                return Builder(domain, core)
        case Qualified(
            Chain(_, relations) as core, (Chain((Name(other), Constant("Z" | "N" | "Z+" | "Z>=0")), ("in",)) as domain,)
        ) if names(core) == {other} and set(relations) <= {"<", ">", "<=", ">="}:
            return Builder(domain, core)
    return node


def integer_elements(node: Node) -> list[Node]:
    """Return the possible lists of elements of a bounded set of integers; none if it is not one."""
    match node:
        case Builder(Chain((Name(text), Constant(domain)), ("in",)), conditions) if domain in _DOMAINS:
            pass
        case Builder(Name(text), Listing(items, "and" | ",")):
            domains = [
                item.operands[1].name
                for item in items
                if isinstance(item, Chain)
                and item.relations == ("in",)
                and item.operands[0] == Name(text)
                and isinstance(item.operands[1], Constant)
            ]
            rest = [item for item in items if not (isinstance(item, Chain) and item.relations == ("in",))]
            if len(domains) != 1 or domains[0] not in _DOMAINS or not rest:
                return []
            domain, conditions = domains[0], rest[0] if len(rest) == 1 else Listing(tuple(rest), "and")
        case _:
            return []
    sets = RealSets(ExpressionEquality(ExactArithmetic()))
    try:
        intervals = sets.of(conditions, text)
    except NoRealSetError:
        return []
    found: list[Node] = []
    for least in _DOMAINS[domain]:
        elements: set[int] = set()
        for interval in intervals:
            bounds = _integer_bounds(interval.low, interval.has_low, interval.high, interval.has_high, least)
            if bounds is None or bounds[1] - bounds[0] > _MOST_INTEGERS:
                return []
            elements.update(range(bounds[0], bounds[1] + 1))
        found.append(
            Collection(tuple(Number(Fraction(one)) for one in sorted(elements))) if elements else Constant("empty")
        )
    return found


def _integer_bounds(low: Node, has_low: bool, high: Node, has_high: bool, least: int | None) -> tuple[int, int] | None:
    try:
        upper = exact_value(high)
        lower = Fraction(least) if low == _LESS and least is not None else exact_value(low)
    except (InexactError, UndefinedError):
        return None
    if low == _LESS:
        has_low = True
    first = math.ceil(lower) + (lower.denominator == 1 and not has_low)
    last = math.floor(upper) - (upper.denominator == 1 and not has_high)
    return max(first, least if least is not None else first), last


def progression(items: Sequence[Node], scalars: ExpressionEquality) -> Progression | None:
    """Return the arithmetic progression that a list with or without dots describes."""
    dots = [at for at, item in enumerate(items) if isinstance(item, Ellipsis)]
    if not dots:
        head, tail = list(items), []
        if len(head) < 3:
            return None
    elif len(dots) == 1 and dots[0] and len(items) - dots[0] <= 3:
        head, tail = list(items[: dots[0]]), list(items[dots[0] + 1 :])
    else:
        return None
    if any(isinstance(item, Bracketed | Chain | Collection | Listing | Matrix) for item in items):
        return None
    step: Node = Number(Fraction(1)) if len(head) == 1 else _minus(head[1], head[0])
    steps = [_minus(later, earlier) for earlier, later in pairwise(head)]
    steps += [_minus(later, earlier) for earlier, later in pairwise(tail)]
    if len(head) == 1 and not _is_integer(head[0]):
        return None
    if not all(scalars.equal(step, one) for one in steps):
        return None
    last = tail[-1] if tail else (None if dots else head[-1])
    if last is not None and not names(last) and not names(step) and not names(head[0]):
        count = scalars.value_at(Operation("divide", (_minus(last, head[0]), step)), {})
        if count is None or count.denominator != 1 or count < 0:
            return None
    return Progression(head[0], step, last)


def _is_integer(node: Node) -> bool:
    return isinstance(node, Number) and node.value.denominator == 1


def _minus(left: Node, right: Node) -> Node:
    return Operation("add", (left, Operation("negate", (right,))))


def residue_classes(node: Node) -> ResidueClasses | None:
    """Return the integers that congruences, or x = 7k + 3, describe; None if it is none with bounded numbers."""
    parts = node.items if isinstance(node, Listing) and node.joiner != "and" else (node,)
    subjects: set[str] = set()
    classes: list[tuple[int, int]] = []
    for part in parts:
        found = _residue_class(part)
        if found is None:
            return None
        subject, residue, modulus = found
        subjects |= {subject} - {""}
        classes.append((residue % modulus, modulus))
    modulus = math.lcm(*(one for _, one in classes))
    if len(subjects) > 1 or modulus > _LARGEST_MODULUS:
        return None
    residues = {at for residue, one in classes for at in range(residue, modulus, one)}
    for divisor in range(1, modulus):
        if modulus % divisor == 0 and all((one + divisor) % modulus in residues for one in residues):
            modulus, residues = divisor, {one % divisor for one in residues}
            break
    return ResidueClasses(subjects.pop() if subjects else "", modulus, frozenset(residues))


def _residue_class(node: Node) -> tuple[str, int, int] | None:
    if isinstance(node, Qualified) and len(node.conditions) == 1:
        domain = node.conditions[0]
        if not isinstance(domain, Chain) or domain.operands[1] != Constant("Z"):
            return None
        node = node.core
    match node:
        case Congruence(subject, residue, modulus) if subject is None or isinstance(subject, Name):
            values = _integer(residue), _integer(modulus)
            if values[0] is None or not values[1]:
                return None
            return subject.text if isinstance(subject, Name) else "", values[0], abs(values[1])
        case Chain((Name(text), value), ("=",)) if len(names(value)) == 1:
            parameter = next(iter(names(value)))
            start, after, third = (_integer(rename(value, parameter, Number(Fraction(at)))) for at in (0, 1, 7))
            if (
                start is None
                or after is None
                or third is None
                or after == start
                or third - start != 7 * (after - start)
            ):
                return None
            return (text, start, abs(after - start)) if parameter != text else None
    return None


def _integer(node: Node) -> int | None:
    try:
        value = exact_value(node)
    except (InexactError, UndefinedError):
        return None
    return int(value) if value.denominator == 1 else None

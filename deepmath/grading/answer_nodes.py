"""Syntax tree of an answer: numbers and expressions, and the structures that hold them.

Trees hold no code and no objects of a mathematics library. Names are only ever compared with one another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written."""

    value: Fraction
    decimals: int | None = None
    """Digits after the decimal point, less the exponent; None for a number without a decimal point."""
    digits: int = 0
    """Significant digits of a number with a decimal point."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant: `pi`, `e`, `i`, `infinity`, `empty`, or a number set such as `R`, `Z` or `Z+`."""

    name: str


@dataclass(frozen=True, slots=True)
class Name:
    """A variable or another name, with its subscript and primes."""

    text: str


@dataclass(frozen=True, slots=True)
class Application:
    """An unknown function of arguments: f(x)."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """A known operation: `add`, `multiply`, `power`, `sin`, `union` and so on."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Bracketed:
    """Two or more elements in brackets: a tuple, a vector or an interval."""

    opening: str
    closing: str
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Collection:
    r"""A set by its elements: \\{1, 2\\}."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Builder:
    r"""A set by a condition: \\{x \\mid x > 0\\}."""

    pattern: Node
    conditions: Node


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix by its rows."""

    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True, slots=True)
class Cases:
    """A function by cases: rows of a value and a condition."""

    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """Relations in a row: a < b = c. There is one relation less than operands."""

    operands: tuple[Node, ...]
    relations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """Several answers: separated by commas, `and` or `or`."""

    items: tuple[Node, ...]
    joiner: str
    """`,`, `and` or `or`."""


@dataclass(frozen=True, slots=True)
class Congruence:
    """A residue class, with its subject if that is given: x = 3 (mod 7)."""

    subject: Node | None
    residue: Node
    modulus: Node


@dataclass(frozen=True, slots=True)
class Qualified:
    """An answer with conditions on its variables."""

    core: Node
    conditions: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio, or a time of day: 1:2:3."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Ellipsis:
    """Dots that stand for omitted elements."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with its unit."""

    value: Node
    unit: str


Node = (
    Number
    | Constant
    | Name
    | Application
    | Operation
    | Bracketed
    | Collection
    | Builder
    | Matrix
    | Cases
    | Chain
    | Listing
    | Congruence
    | Qualified
    | Ratio
    | Ellipsis
    | Quantity
)


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes directly below `node`."""
    match node:
        case Operation(_, operands) | Chain(operands):
            return operands
        case Application(_, items) | Bracketed(_, _, items) | Collection(items) | Listing(items) | Ratio(items):
            return items
        case Matrix(rows) | Cases(rows):
            return tuple(cell for row in rows for cell in row)
        case Builder(pattern, conditions):
            return (pattern, conditions)
        case Congruence(subject, residue, modulus):
            return (residue, modulus) if subject is None else (subject, residue, modulus)
        case Qualified(core, conditions):
            return (core, *conditions)
        case Quantity(value):
            return (value,)
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """Yield `node` and all nodes below it."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(children(node))


def names(node: Node) -> set[str]:
    """Return the names in `node`, without functions."""
    return {found.text for found in walk(node) if isinstance(found, Name)}


def rename(node: Node, old: str, new: Node) -> Node:
    """Return `node` with the name `old` replaced by `new`."""

    def all_of(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
        return tuple(rename(one, old, new) for one in nodes)

    match node:
        case Name(text):
            return new if text == old else node
        case Operation(operator, operands):
            return Operation(operator, all_of(operands))
        case Application(function, arguments):
            return Application(function, all_of(arguments))
        case Bracketed(opening, closing, items):
            return Bracketed(opening, closing, all_of(items))
        case Collection(items):
            return Collection(all_of(items))
        case Listing(items, joiner):
            return Listing(all_of(items), joiner)
        case Ratio(parts):
            return Ratio(all_of(parts))
        case Chain(operands, relations):
            return Chain(all_of(operands), relations)
        case Builder(pattern, conditions):
            return Builder(rename(pattern, old, new), rename(conditions, old, new))
        case Matrix(rows):
            return Matrix(tuple(map(all_of, rows)))
        case Cases(rows):
            return Cases(tuple(map(all_of, rows)))
        case Congruence(subject, residue, modulus):
            renamed = None if subject is None else rename(subject, old, new)
            return Congruence(renamed, rename(residue, old, new), rename(modulus, old, new))
        case Qualified(core, conditions):
            return Qualified(rename(core, old, new), all_of(conditions))
        case Quantity(value, unit):
            return Quantity(rename(value, old, new), unit)
        case _:
            return node

"""Several variants of one document as one tree, whose parts know the variants that have them."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Variant = frozenset[str]
"""The features of a rendering."""
Variants = frozenset[Variant]
_Parts = Callable[[Any], Iterable[tuple[str, Any]]]
# Fields that identify an item of a list, the first that an item has.
IDENTITIES = ("name", "mountPath", "alert", "record", "topologyKey", "containerPort", "port")


@dataclass(frozen=True)
class Scalar:
    """A value that all variants share."""

    value: Any


@dataclass(frozen=True)
class Choice:
    """Values that differ between variants."""

    alternatives: tuple[tuple[Variants, "Node"], ...]


@dataclass(frozen=True)
class Mapping:
    """The entries of a dict, each with the variants that have it."""

    entries: tuple[tuple[str, Variants, "Node"], ...]


@dataclass(frozen=True)
class Sequence:
    """The items of a list by identity, each with the variants that have it."""

    items: tuple[tuple[str, Variants, "Node"], ...]


Node = Scalar | Choice | Mapping | Sequence


def superpose(values: dict[Variant, Any]) -> Node:
    """Merge the values of several variants."""
    found = list(values.values())
    if all(isinstance(value, dict) and value for value in found):
        return Mapping(
            tuple((key, frozenset(having), superpose(having)) for key, having in _by_key(values, dict.items).items())
        )
    if all(isinstance(value, list) and value for value in found):
        return Sequence(
            tuple((key, frozenset(having), superpose(having)) for key, having in _by_key(values, _identified).items())
        )
    alternatives: dict[str, dict[Variant, Any]] = {}
    for variant, value in values.items():
        alternatives.setdefault(json.dumps(value, sort_keys=True), {})[variant] = value
    if len(alternatives) == 1:
        return Scalar(found[0])
    return Choice(tuple((frozenset(having), superpose(having)) for having in alternatives.values()))


def _by_key(
    values: dict[Variant, Any], parts: Callable[[Any], Iterable[tuple[str, Any]]]
) -> dict[str, dict[Variant, Any]]:
    """Return the parts of all values by key, in an order that agrees with every value's as far as they agree."""
    order: list[str] = []
    found: dict[str, dict[Variant, Any]] = {}
    for variant, value in values.items():
        at = 0
        for key, part in parts(value):
            if key in found:
                at = max(at, order.index(key) + 1)
            else:
                order.insert(at, key)
                at += 1
            found.setdefault(key, {})[variant] = part
    return {key: found[key] for key in order}


def _identified(items: list[Any]) -> list[tuple[str, Any]]:
    named = [(identity(item), item) for item in items]
    if len({name for name, _ in named}) < len(named):  # not unique: each item as a whole
        return [(f"{json.dumps(item, sort_keys=True)}#{at}", item) for at, item in enumerate(items)]
    return named


def identity(item: Any) -> str:
    """Return what names an item of a list: a field, a flag or setting before its "=", or the whole item."""
    if isinstance(item, dict):
        for field in IDENTITIES:
            if field in item:
                return str(item[field])
        return json.dumps(item, sort_keys=True)
    text = str(item)
    return text.partition("=")[0] if text.startswith("-") or text.partition("=")[1] else text

"""The shortest condition on features that holds for some variants and for no other."""

import itertools
from functools import cache

from .superposition import Variants


@cache
def condition(features: tuple[str, ...], universe: Variants, subset: Variants) -> str | None:
    """Return a Go template expression that is true for `subset` of `universe`; none if it always holds.

    A variant is the set of the features that it has.

    Raises:
        RuntimeError: no condition with few features does.
    """
    if universe == subset:
        return None
    if not subset:
        return "false"
    literals = [(feature, wanted) for feature in features for wanted in (True, False)]
    terms: list[tuple[tuple[tuple[str, bool], ...], Variants]] = []
    for size in (1, 2, 3):
        for chosen in itertools.combinations(literals, size):
            if len({feature for feature, _ in chosen}) < size:
                continue
            holding = frozenset(v for v in universe if all((feature in v) is wanted for feature, wanted in chosen))
            if holding == subset:
                return _conjunction(chosen)
            if holding and holding < subset:
                terms.append((chosen, holding))
    for size in (2, 3, 4):
        for parts in itertools.combinations(terms[:60], size):
            if frozenset().union(*(holding for _, holding in parts)) == subset:
                return "or " + " ".join(_nested(_conjunction(chosen)) for chosen, _ in parts)
    raise RuntimeError(f"no condition tells {sorted(map(sorted, subset))} from the other renderings")


def _conjunction(chosen: tuple[tuple[str, bool], ...]) -> str:
    parts = [literal(feature) if wanted else f"not {literal(feature)}" for feature, wanted in chosen]
    return parts[0] if len(parts) == 1 else "and " + " ".join(_nested(part) for part in parts)


def _nested(expression: str) -> str:
    return f"({expression})" if " " in expression else expression


def literal(feature: str) -> str:
    return ".Values.gpu.enabled" if feature == "gpu" else f".Values.components.{camel_case(feature)}"


def camel_case(name: str) -> str:
    """Return the name of a component as the name of a value."""
    first, *others = name.split("-")
    return first + "".join(map(str.capitalize, others))

"""The shortest condition on features that holds for some variants and for no other."""

import itertools
from functools import cache

from .superposition import Variants

_Term = tuple[tuple[str, bool], ...]  # features, and whether a variant has them


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
    necessary = [one for one in literals if all((one[0] in variant) is one[1] for variant in subset)]
    for size in (1, 2, 3):
        for chosen in itertools.combinations(necessary, size):
            if _holding(universe, chosen) == subset:
                return _conjunction(chosen)
    terms = [
        (holding, chosen)
        for size in (1, 2)
        for chosen in itertools.combinations(literals, size)
        if (holding := _holding(universe, chosen)) and holding < subset
    ]
    terms.sort(key=lambda term: (-len(term[0]), len(term[1])))
    for size in (2, 3):
        for parts in itertools.combinations(terms[:60], size):
            if frozenset().union(*(holding for holding, _ in parts)) == subset:
                return "or " + " ".join(_nested(_conjunction(chosen)) for _, chosen in parts)
    raise RuntimeError(f"no condition tells {sorted(map(sorted, subset))} from the other renderings")


def _holding(universe: Variants, chosen: _Term) -> Variants:
    return frozenset(
        variant for variant in universe if all((feature in variant) is wanted for feature, wanted in chosen)
    )


def _conjunction(chosen: _Term) -> str:
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

"""Logic with three values: True, False, and None for unknown."""

from collections.abc import Iterable

Ternary = bool | None


def all_of(verdicts: Iterable[Ternary]) -> Ternary:
    """Return the conjunction: False if one is False, else None if one is unknown."""
    found: Ternary = True
    for verdict in verdicts:
        if verdict is False:
            return False
        if verdict is None:
            found = None
    return found


def any_of(verdicts: Iterable[Ternary]) -> Ternary:
    """Return the disjunction: True if one is True, else None if one is unknown."""
    found: Ternary = False
    for verdict in verdicts:
        if verdict:
            return True
        if verdict is None:
            found = None
    return found

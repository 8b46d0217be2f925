"""Rows of like length together, so that little is computed on padding."""

from collections.abc import Sequence

_LEAST_FILLED = 0.75  # a row shorter than this share of its bucket's longest begins the next one


def buckets(lengths: Sequence[int]) -> list[list[int]]:
    """Return the indices of `lengths` in groups, longest first."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    groups: list[list[int]] = []
    for index in order:
        if not groups or lengths[index] < _LEAST_FILLED * lengths[groups[-1][0]]:
            groups.append([])
        groups[-1].append(index)
    return groups

"""Tally of the votes for each distinct answer among several samples."""

from collections import Counter
from collections.abc import Sequence

from deepmath.grading.equivalence_classes import Verify, equivalence_classes


def tally_votes(answers: Sequence[str], verify: Verify | None) -> list[tuple[str, int]]:
    """Return each distinct answer in its most frequent spelling with its vote count, most votes first.

    Equal answers vote together, see `equivalence_classes`. Empty answers do not vote. Among answers with equally many
    votes, and among spellings, the one given first comes first.
    """
    (number,) = equivalence_classes([answers], verify)
    spellings: dict[int, Counter[str]] = {}
    for answer in filter(None, answers):
        spellings.setdefault(number[answer], Counter())[answer] += 1
    votes = [(counter.most_common(1)[0][0], counter.total()) for counter in spellings.values()]
    return sorted(votes, key=lambda vote: -vote[1])

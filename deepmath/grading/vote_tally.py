"""Tally of the votes for each distinct answer among several samples."""

from collections import Counter
from collections.abc import Iterable

from deepmath.grading.answer_normalization import CanonicalForm, canonical_form


def tally_votes(answers: Iterable[str]) -> list[tuple[str, int]]:
    """Return each distinct answer in its most frequent spelling with its vote count, most votes first.

    Empty answers do not vote. Among answers with equally many votes, the one given first comes first.
    """
    spellings: dict[CanonicalForm, Counter[str]] = {}
    for answer in answers:
        if answer:
            spellings.setdefault(canonical_form(answer), Counter())[answer] += 1
    votes = [(counter.most_common(1)[0][0], counter.total()) for counter in spellings.values()]
    return sorted(votes, key=lambda vote: -vote[1])

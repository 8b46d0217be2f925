"""Exact majority@k for every k up to the number of samples.

The mean credit of the vote over all choices of k out of n samples is counted without enumerating the choices. Let r be
the votes for the correct class in a choice. It wins if no other class has more than r votes, and gets 1/(t + 1) of the
vote if t others have exactly r. The numbers of choices of the other samples are the coefficients of a product of
polynomials, one per class.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from math import comb

Ways = list[list[int]]
"""The number of ways to choose samples, indexed by classes tied with the correct one, then by samples chosen."""


def majority_curve(classes: Sequence[int | None], correct: int) -> tuple[float, ...]:
    """Return the mean credit of `majority_vote` over all choices of 1, 2, ... all samples.

    `classes` are the answer classes of the samples. None stands for no answer and does not vote.
    """
    counts = Counter(classes)
    silent, votes = counts.pop(None, 0), counts.pop(correct, 0)
    return _curve(votes, tuple(sorted(counts.values())), silent)


@lru_cache(maxsize=4096)
def _curve(correct: int, others: tuple[int, ...], silent: int) -> tuple[float, ...]:
    samples = correct + sum(others) + silent
    credit = [0.0] * (samples + 1)
    for votes in range(1, correct + 1):
        # Classes too small to tie or win count as silent.
        free = silent + sum(count for count in others if count < votes)
        ways: Ways = [[comb(free, chosen) for chosen in range(free + 1)]]
        for count in others:
            if count >= votes:
                ways = _with_class(ways, count, votes)
        for tied, by_samples in enumerate(ways):
            for chosen, number in enumerate(by_samples):
                all_choices = comb(samples, votes + chosen)
                credit[votes + chosen] += comb(correct, votes) * number / ((tied + 1) * all_choices)
    return tuple(credit[1:])


def _with_class(ways: Ways, count: int, votes: int) -> Ways:
    """Return the ways with one more class, of `count` samples, which may get up to `votes` votes."""
    longer: Ways = [[0] * (len(ways[0]) + votes) for _ in range(len(ways) + 1)]
    for tied, by_samples in enumerate(ways):
        for chosen, number in enumerate(by_samples):
            for own in range(votes + 1):
                longer[tied + (own == votes)][chosen + own] += number * comb(count, own)
    return longer

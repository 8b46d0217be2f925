"""The majority of every number of samples, exactly.

Over all choices of k of n samples the mean credit of the vote can be counted without making the choices. Let r be the
votes of the right class in a choice. It wins where no other class has more than r, and has 1/(t + 1) of the vote where
t others have just r. The choices of the others' samples are the coefficients of a product of polynomials, one a class.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from math import comb

Ways = list[list[int]]
"""By classes that have just as many votes as the right one, by samples: in how many ways they are chosen."""


def majority_curve(classes: Sequence[int | None], right: int) -> tuple[float, ...]:
    """Return the credit (see `scores.vote`) of the majority of 1, 2, ... all samples: the mean over all choices.

    `classes` has the class of each sample's answer, None for no answer, which does not vote.
    """
    counts = Counter(classes)
    silent, votes = counts.pop(None, 0), counts.pop(right, 0)
    return _curve(votes, tuple(sorted(counts.values())), silent)


@lru_cache(maxsize=4096)
def _curve(right: int, others: tuple[int, ...], silent: int) -> tuple[float, ...]:
    samples = right + sum(others) + silent
    credit = [0.0] * (samples + 1)
    for votes in range(1, right + 1):
        # Classes that are too small to stand in the way are as good as silent.
        free = silent + sum(count for count in others if count < votes)
        ways: Ways = [[comb(free, chosen) for chosen in range(free + 1)]]
        for count in others:
            if count >= votes:
                ways = _with_class(ways, count, votes)
        for tied, by_samples in enumerate(ways):
            for chosen, number in enumerate(by_samples):
                all_choices = comb(samples, votes + chosen)
                credit[votes + chosen] += comb(right, votes) * number / ((tied + 1) * all_choices)
    return tuple(credit[1:])


def _with_class(ways: Ways, count: int, votes: int) -> Ways:
    """Return the ways with one more class, of `count` samples, that may have up to `votes`."""
    longer: Ways = [[0] * (len(ways[0]) + votes) for _ in range(len(ways) + 1)]
    for tied, by_samples in enumerate(ways):
        for chosen, number in enumerate(by_samples):
            for own in range(votes + 1):
                longer[tied + (own == votes)][chosen + own] += number * comb(count, own)
    return longer

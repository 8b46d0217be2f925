"""The majority vote of a problem's samples."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Class = TypeVar("Class", bound=Hashable)


@dataclass(frozen=True)
class MajorityVote:
    """The outcome of a majority vote over equivalence classes of answers."""

    credit: float
    """1 if the correct class wins, 1/n if it ties with n - 1 others for the most votes, otherwise 0."""
    tied: int
    """The number of classes with the most votes; 0 if no sample has an answer."""


def majority_vote(classes: Sequence[Class | None], correct: Class | None) -> MajorityVote:
    """Return the vote of samples with these answer classes. None stands for no answer and does not vote."""
    counts: dict[Class, int] = {}
    for one in classes:
        if one is not None:
            counts[one] = counts.get(one, 0) + 1
    if not counts:
        return MajorityVote(0.0, 0)
    most = max(counts.values())
    winners = [one for one, count in counts.items() if count == most]
    return MajorityVote(1 / len(winners) if correct in winners else 0.0, len(winners))

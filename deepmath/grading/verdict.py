"""The verdict on one answer, with its reason."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn, Self


class Reason(StrEnum):
    """Why a verdict is what it is: a closed set, so that verdicts can be counted by it."""

    SAME_TEXT = "the same text"
    SAME_VALUE = "the same value"
    DIFFERENT = "different values"
    ANSWER_EMPTY = "the answer is empty"
    ANSWER_TOO_LONG = "the answer is too long"
    ANSWER_UNREADABLE = "the answer is not mathematics that can be read"
    ANSWER_TIMEOUT = "the answer takes too long to evaluate"
    ANSWER_MEMORY = "the answer takes too much memory to evaluate"
    ANSWER_CRASHED = "the answer breaks the process that compares it"
    GOLD_EMPTY = "there is no gold answer"
    GOLD_DAMAGED = "JSON escapes have damaged LaTeX commands in the gold answer"
    GOLD_UNREADABLE = "the gold answer is not mathematics that can be read"
    GOLD_TOO_COSTLY = "the gold answer takes too much time or memory to evaluate"
    FULL_SCORE = "full score by the problem's own scorer"
    PARTIAL_SCORE = "partial score by the problem's own scorer"
    ZERO_SCORE = "no score by the problem's own scorer"
    SCORER_ERROR = "the answer raises an exception in the problem's own scorer"
    FAILED = "the comparison failed for no fault of the answer"

    @property
    def correct(self) -> bool | None:
        """Whether an answer with this reason is correct; None if there is no verdict."""
        if self in (Reason.SAME_TEXT, Reason.SAME_VALUE, Reason.FULL_SCORE):
            return True
        return None if self is Reason.FAILED or self.name.startswith("GOLD_") else False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one (gold, answer) pair."""

    correct: bool | None
    """None if there is no verdict: the gold answer is bad, or the comparison failed for no fault of the answer."""
    reason: Reason
    seconds: float = 0.0
    """Wall-clock time of the comparison, without the wait for a sandbox."""
    score: float | None = None
    """From 0 to 1, by the problem's own scorer. None if the answer was compared with a gold answer."""

    @classmethod
    def of(cls, reason: Reason, seconds: float = 0.0, score: float | None = None) -> Self:
        """Return the verdict that `reason` entails."""
        return cls(reason.correct, reason, seconds, score)

    def __bool__(self) -> NoReturn:
        """Refuse: a verdict is an object, so `if verdict` would hold for incorrect answers too.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a verdict has no truth value; use `verdict.correct`")

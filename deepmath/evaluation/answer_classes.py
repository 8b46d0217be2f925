r"""Which samples of a problem have the same answer: 1/2, 0.5 and \frac12 are one, and vote together.

Right answers are one class, by the verdicts that there are. Of the others each two are compared as any answer is with
the right one: exactly where both are numbers, else by math-verify in a worker that can be killed. What it cannot tell
in time is different. Where no sample is right nothing has to be compared: no vote can be right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

from deepmath.evaluation.estimators import Vote, vote
from deepmath.evaluation.evaluation_run import GradedSample
from deepmath.evaluation.sample_records import SampleRecord
from deepmath.grading.answer_normalization import canonical_form
from deepmath.grading.verifier import Verifier

RIGHT = 0
"""The class of right answers."""

Value = Fraction | str
Pair = tuple[str, str]


@dataclass(frozen=True)
class Judged:
    """The samples of a problem that have a verdict, in the order of their numbers."""

    problem_id: str
    gold: str
    right: tuple[bool, ...]
    classes: tuple[int | None, ...]
    """Of their answers: `RIGHT`, or another number for each other answer; None for no answer."""

    def vote(self, k: int) -> Vote:
        """Return the vote of the first `k` samples, or of all where there are fewer."""
        return vote(self.classes[:k], RIGHT)


def judge(records: Sequence[SampleRecord], verifier: Verifier) -> list[list[Judged]]:
    """Return for each record its problems with at least one verdict, in the order of their ids.

    Raises:
        Unavailable: math-verify cannot be loaded.
    """
    problems = [_by_problem(record) for record in records]
    pairs = {pair for record in problems for samples in record.values() for pair in _open_pairs(samples)}
    ordered = sorted(pairs)  # in this order whatever the order of the samples
    equal = {pair for pair, verdict in zip(ordered, verifier.verify(ordered), strict=True) if verdict}
    return [
        [
            Judged(
                problem_id,
                samples[0].gold,
                tuple(sample.correct is True for sample in samples),
                tuple(_classes(samples, equal)),
            )
            for problem_id, samples in sorted(record.items())
        ]
        for record in problems
    ]


def _by_problem(record: SampleRecord) -> dict[str, list[GradedSample]]:
    found: dict[str, list[GradedSample]] = {}
    for sample in sorted(record.samples, key=lambda one: one.sample):
        if sample.correct is not None:
            found.setdefault(sample.problem_id, []).append(sample)
    return found


def _wrong(samples: Sequence[GradedSample]) -> dict[Value, str]:
    """Return each value that is wrong with its first spelling, both in the order of the alphabet."""
    found: dict[Value, str] = {}
    for answer in sorted({sample.answer for sample in samples if sample.answer and not sample.correct}):
        found.setdefault(canonical_form(answer), answer)
    return found


def _open_pairs(samples: Sequence[GradedSample]) -> list[Pair]:
    """Return the pairs of wrong answers of which has to be known whether they are one."""
    if not any(sample.correct for sample in samples):
        return []
    return list(combinations(_wrong(samples).values(), 2))


def _classes(samples: Sequence[GradedSample], equal: set[Pair]) -> list[int | None]:
    numbers = _numbers(_wrong(samples), equal)
    return [
        RIGHT if sample.correct else numbers[canonical_form(sample.answer)] if sample.answer else None
        for sample in samples
    ]


def _numbers(wrong: Mapping[Value, str], equal: set[Pair]) -> dict[Value, int]:
    """Number the classes of wrong answers: whatever is equal to one of a class is in it."""
    number = {spelling: at for at, spelling in enumerate(wrong.values(), start=RIGHT + 1)}
    for first, second in combinations(wrong.values(), 2):
        if (first, second) in equal:
            kept, gone = number[first], number[second]
            number = {spelling: kept if own == gone else own for spelling, own in number.items()}
    return {value: number[spelling] for value, spelling in wrong.items()}

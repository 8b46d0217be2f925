r"""Equivalence classes of the answers to a problem: 1/2, 0.5 and \frac12 vote together.

Correct answers form one class, by their verdicts. Incorrect answers are compared pairwise as in grading: exactly if
both are numbers, otherwise by math-verify in a worker that can be killed. A comparison that times out counts as
different. If no sample is correct, incorrect answers are not compared, because no vote can be correct.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from deepmath.evaluation.graded_sample import GradedSample
from deepmath.evaluation.majority_vote import MajorityVote, majority_vote
from deepmath.evaluation.sample_sets import SampleSet
from deepmath.grading.answer_normalization import CanonicalForm, canonical_form
from deepmath.grading.verifier import Verifier

CORRECT_CLASS = 0
"""The class of correct answers."""

AnswerPair = tuple[str, str]


@dataclass(frozen=True)
class JudgedProblem:
    """The samples of a problem that have a verdict, in order of their numbers."""

    problem_id: str
    gold: str
    correct: tuple[bool, ...]
    classes: tuple[int | None, ...]
    """The class of each answer: `CORRECT_CLASS`, or another number per distinct answer; None for no answer."""

    def vote(self, k: int) -> MajorityVote:
        """Return the vote of the first `k` samples, or of all if there are fewer."""
        return majority_vote(self.classes[:k], CORRECT_CLASS)


def judge_problems(sets: Sequence[SampleSet], verifier: Verifier) -> list[list[JudgedProblem]]:
    """Return for each sample set its problems that have at least one verdict, in order of their ids.

    Raises:
        Unavailable: math-verify cannot be loaded.
    """
    problems = [_by_problem(one) for one in sets]
    pairs = {pair for one in problems for samples in one.values() for pair in _pairs_to_compare(samples)}
    ordered = sorted(pairs)  # a fixed order, independent of the order of the samples
    equal = {pair for pair, verdict in zip(ordered, verifier.verify(ordered), strict=True) if verdict.correct}
    return [
        [
            JudgedProblem(
                problem_id,
                samples[0].gold,
                tuple(sample.correct is True for sample in samples),
                tuple(_classes(samples, equal)),
            )
            for problem_id, samples in sorted(one.items())
        ]
        for one in problems
    ]


def _by_problem(sample_set: SampleSet) -> dict[str, list[GradedSample]]:
    found: dict[str, list[GradedSample]] = {}
    for sample in sorted(sample_set.samples, key=lambda one: one.sample):
        if sample.correct is not None:
            found.setdefault(sample.problem_id, []).append(sample)
    return found


def _incorrect_answers(samples: Sequence[GradedSample]) -> dict[CanonicalForm, str]:
    """Return the first spelling of each incorrect answer, in alphabetical order."""
    found: dict[CanonicalForm, str] = {}
    for answer in sorted({sample.answer for sample in samples if sample.answer and not sample.correct}):
        found.setdefault(canonical_form(answer), answer)
    return found


def _pairs_to_compare(samples: Sequence[GradedSample]) -> list[AnswerPair]:
    if not any(sample.correct for sample in samples):
        return []
    return list(combinations(_incorrect_answers(samples).values(), 2))


def _classes(samples: Sequence[GradedSample], equal: set[AnswerPair]) -> list[int | None]:
    numbers = _class_numbers(_incorrect_answers(samples), equal)

    def class_of(sample: GradedSample) -> int | None:
        if sample.correct:
            return CORRECT_CLASS
        return numbers[canonical_form(sample.answer)] if sample.answer else None

    return [class_of(sample) for sample in samples]


def _class_numbers(incorrect: Mapping[CanonicalForm, str], equal: set[AnswerPair]) -> dict[CanonicalForm, int]:
    """Number the classes of incorrect answers: the transitive closure of the pairs in `equal`."""
    number = {spelling: at for at, spelling in enumerate(incorrect.values(), start=CORRECT_CLASS + 1)}
    for first, second in combinations(incorrect.values(), 2):
        if (first, second) in equal:
            kept, merged = number[first], number[second]
            number = {spelling: kept if own == merged else own for spelling, own in number.items()}
    return {form: number[spelling] for form, spelling in incorrect.items()}

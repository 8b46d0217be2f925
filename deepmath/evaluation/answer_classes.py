r"""Classes of the answers to a problem: 1/2, 0.5 and \frac12 vote together.

Correct answers form one class, by their verdicts. Incorrect answers form equivalence classes, as in the vote of Solve.
If no sample is correct, incorrect answers are not compared symbolically, because no vote can be correct. Answers to a
problem with its own scorer are words, lists or grids: incorrect ones are in one class if they are the same text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deepmath.evaluation.graded_sample import GradedSample
from deepmath.evaluation.majority_vote import MajorityVote, majority_vote
from deepmath.evaluation.sample_sets import SampleSet
from deepmath.grading.equivalence_classes import equivalence_classes
from deepmath.grading.verifier import Verifier

CORRECT_CLASS = 0
"""The class of correct answers."""


@dataclass(frozen=True)
class JudgedProblem:
    """The samples of a problem that have a verdict, in order of their numbers."""

    problem_id: str
    gold: str
    correct: tuple[bool, ...]
    classes: tuple[int | None, ...]
    """The class of each answer: `CORRECT_CLASS`, or another number per distinct answer; None for no answer."""
    scores: tuple[float, ...] = ()
    """By the problem's own scorer; empty if it has none."""
    family: str = ""
    difficulty: int | None = None

    def vote(self, k: int) -> MajorityVote:
        """Return the vote of the first `k` samples, or of all if there are fewer."""
        return majority_vote(self.classes[:k], CORRECT_CLASS)


def judge_problems(sets: Sequence[SampleSet], verifier: Verifier) -> list[list[JudgedProblem]]:
    """Return for each sample set its problems that have at least one verdict, in order of their ids.

    Raises:
        Unavailable: answers cannot be compared, see `Verifier`.
    """
    problems = [_by_problem(one) for one in sets]
    numbers = iter(_class_numbers([samples for one in problems for samples in one.values()], verifier))
    return [[_judged(samples, next(numbers)) for samples in one.values()] for one in problems]


def _by_problem(sample_set: SampleSet) -> dict[str, list[GradedSample]]:
    found: dict[str, list[GradedSample]] = {}
    for sample in sorted(sample_set.samples, key=lambda one: (one.problem_id, one.sample)):
        if sample.correct is not None:
            found.setdefault(sample.problem_id, []).append(sample)
    return found


def _class_numbers(problems: Sequence[Sequence[GradedSample]], verifier: Verifier) -> list[dict[str, int]]:
    """Return for each problem the class number of each incorrect answer, from 0."""
    incorrect = [[sample.answer for sample in samples if not sample.correct] for samples in problems]
    scored = {at for at, samples in enumerate(problems) if any(one.score is not None for one in samples)}
    can_win = {at for at, samples in enumerate(problems) if any(one.correct for one in samples)}
    numbers = {at: _text_numbers(incorrect[at]) for at in scored}
    for chosen, verify in ((can_win, verifier.verify), (set(range(len(problems))) - can_win, None)):
        ordered = sorted(chosen - scored)
        numbers |= zip(ordered, equivalence_classes([incorrect[at] for at in ordered], verify), strict=True)
    return [numbers[at] for at in range(len(problems))]


def _text_numbers(answers: Sequence[str]) -> dict[str, int]:
    return {text: number for number, text in enumerate(dict.fromkeys(filter(None, answers)))}


def _judged(samples: Sequence[GradedSample], numbers: Mapping[str, int]) -> JudgedProblem:
    def class_of(sample: GradedSample) -> int | None:
        if sample.correct:
            return CORRECT_CLASS
        return numbers[sample.answer] + CORRECT_CLASS + 1 if sample.answer else None

    correct = tuple(sample.correct is True for sample in samples)
    scores = tuple(sample.score for sample in samples if sample.score is not None)
    graded = next((one for one in samples if one.family or one.difficulty is not None), samples[0])  # by this version
    return JudgedProblem(
        samples[0].problem_id,
        samples[0].gold,
        correct,
        tuple(map(class_of, samples)),
        scores,
        graded.family,
        graded.difficulty,
    )

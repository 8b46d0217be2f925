r"""Equivalence classes of answers: 1/2, 0.5 and \frac12 vote together, correct answers by their verdicts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.evaluation_runs import of_answers, sample, write

from deepmath.evaluation.answer_classes import CORRECT_CLASS, JudgedProblem, judge_problems
from deepmath.evaluation.graded_sample import GradedSample
from deepmath.evaluation.sample_sets import SampleSet, load_sample_sets
from deepmath.grading.verifier import Verifier


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    with Verifier(1, 10.0) as verifier:
        yield verifier


def judged(verifier: Verifier, *samples: GradedSample) -> list[JudgedProblem]:
    (found,) = judge_problems([SampleSet("DeepMath", "synthetic", Path(), samples)], verifier)
    return found


def classes(verifier: Verifier, *answers: str) -> tuple[int | None, ...]:
    return judged(verifier, *of_answers(*answers))[0].classes


def test_spellings_of_one_number_form_one_class(verifier: Verifier) -> None:
    correct, *halves, third = classes(verifier, "42", "1/2", "0.5", r"\frac12", "1/3")
    assert correct == CORRECT_CLASS
    assert len(set(halves)) == 1
    assert len({correct, halves[0], third}) == 3


def test_expressions_are_compared_symbolically(verifier: Verifier) -> None:
    _, first, second, third = classes(verifier, "42", "x+1", "1+x", "x+2")
    assert first == second != third


def test_correct_answers_form_one_class_by_their_verdicts_in_any_spelling(verifier: Verifier) -> None:
    (problem,) = judged(verifier, sample(answer="42"), sample(number=1, answer="forty-two", correct=True))
    assert problem.classes == (CORRECT_CLASS, CORRECT_CLASS)


def test_missing_answer_has_no_class(verifier: Verifier) -> None:
    assert classes(verifier, "", "42")[0] is None


def test_samples_and_problems_without_a_verdict_are_excluded(verifier: Verifier) -> None:
    found = judged(verifier, sample(), sample(number=1, answer="7", correct=None), sample("p2", correct=None))
    assert [(one.problem_id, one.correct) for one in found] == [("p1", (True,))]


def test_answers_are_not_compared_if_no_sample_is_correct() -> None:
    with Verifier(1, 10.0) as closed:
        closed.close()  # a comparison would fail and be counted as a failure
        assert classes(closed, "x+1", "1+x", "1/2", "0.5")[2:] == (1, 1)
        assert closed.reasons.total() == 0


def test_endless_comparison_counts_as_different(tmp_path: Path) -> None:
    with Verifier(1, 1.0) as hasty:
        _, endless, other = classes(hasty, "42", r"10^{10^{10^{10}}}-x", "x")
    assert endless != other


def test_first_samples_by_number_vote(verifier: Verifier) -> None:
    (problem,) = judged(verifier, sample(number=2), sample(number=1, answer="7"), sample(number=0, answer="7"))
    assert problem.vote(2).credit == 0
    assert problem.vote(99).tied == 1


answers = st.lists(
    st.sampled_from(["42", "", "1/2", "0.5", "7", "x+1", "1+x", r"\sqrt{4}", "2"]), min_size=1, max_size=6
)


@settings(max_examples=50, deadline=None)
@given(answers.flatmap(lambda drawn: st.tuples(st.just(drawn), st.permutations(range(len(drawn))))))
def test_classes_do_not_depend_on_the_order_of_the_samples(
    verifier: Verifier, drawn: tuple[list[str], list[int]]
) -> None:
    given, order = drawn
    found = classes(verifier, *given)
    assert classes(verifier, *(given[at] for at in order)) == tuple(found[at] for at in order)


def test_sample_sets_of_a_folder_are_judged_separately(verifier: Verifier, tmp_path: Path) -> None:
    run = write(tmp_path / "run", *of_answers("42", "7"), *of_answers("7", "7", configuration="Baseline"))
    assert [[one.correct for one in problems] for problems in judge_problems(load_sample_sets([run]), verifier)] == [
        [(False,) * 2],
        [(True, False)],
    ]


def test_answers_with_a_scorer_vote_by_their_text(verifier: Verifier) -> None:
    answers = ("[1, 2]", "[1,2]", "1/2", "0.5", "", "[1, 2]")
    samples = [sample(number=at, answer=text, correct=False, score=0.1) for at, text in enumerate(answers)]
    right = [sample(number=at, answer=text, correct=True, score=1.0) for at, text in ((6, "a b"), (7, "b a"))]
    (problem,) = judged(verifier, *samples, *right)
    assert problem.classes == (1, 2, 3, 4, None, 1, CORRECT_CLASS, CORRECT_CLASS)
    assert problem.scores == (0.1,) * 6 + (1.0,) * 2

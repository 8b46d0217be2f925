"""Scores by reasoning-gym's own scorers in sandboxes: the same as a direct call, whatever the task and the answer.

The direct call runs in a process of its own: it evaluates the answers, and the library prints and seeds as it likes.
"""

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deepmath.data.reasoning_gym.gym_problems import gym_problems
from deepmath.data.reasoning_gym.gym_source import GymSource
from deepmath.errors import Unavailable
from deepmath.grading.gym_entry import GymEntry, GymTask
from deepmath.grading.gym_scorer import MAX_ANSWER_CHARACTERS, ScoringSandbox
from deepmath.grading.verdict import Reason, Verdict
from deepmath.grading.verifier import Verifier

DIRECT_SCORES = Path(__file__).with_name("direct_scores.py")


@dataclass(frozen=True)
class Case:
    entry: GymEntry
    answer: str
    score: float | str
    """By a direct call, or the name of the exception that it raised."""


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """All tasks with correct, changed and hostile answers."""
    command = [sys.executable, "-W", "ignore", str(DIRECT_SCORES)]
    made = pickle.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    found = [Case(GymEntry(GymTask(name), entry), answer, score) for name, entry, answer, score in made]
    deviation = ("complex_arithmetic", "nan")  # test_nan_is_no_full_score
    return [case for case in found if (case.entry.task.name, case.answer) != deviation]


@pytest.fixture(scope="module")
def verifier(cases: list[Case]) -> Iterator[Verifier]:
    with Verifier(2, 20.0, tasks={case.entry.task for case in cases}) as verifier:
        yield verifier


@pytest.mark.timeout(900)  # a thousand processes
def test_scores_equal_those_of_a_direct_call(cases: list[Case], verifier: Verifier) -> None:
    verdicts = verifier.verify([(case.entry, case.answer) for case in cases])
    assert len({case.entry.task for case in cases}) > 100
    different = [
        (case.entry.task.name, case.answer[:60], case.score, verdict.score, verdict.reason.name)
        for case, verdict in zip(cases, verdicts, strict=True)
        if verdict.score != (0.0 if isinstance(case.score, str) else pytest.approx(min(case.score, 1.0), abs=1e-9))
    ]
    assert different == []
    full = [case.score == pytest.approx(1.0, abs=1e-9) for case in cases]
    assert [verdict.correct for verdict in verdicts] == full
    raised = [isinstance(case.score, str) for case in cases]
    assert [verdict.reason is Reason.SCORER_ERROR for verdict in verdicts] == raised
    assert {True, False} == set(full) == set(raised)


def entry_of(cases: list[Case], task: str) -> Case:
    return next(case for case in cases if case.entry.task.name == task and case.score == 1.0)


@pytest.mark.parametrize(
    ("task", "code"),
    [
        ("spiral_matrix", "{answer!r}.split()[:] or 1"),
        ("spiral_matrix", "[x for x in {answer!r}.split()]"),
        ("spiral_matrix", "[__import__('builtins')]"),
        ("string_insertion", "(lambda: {answer!r})()"),
        ("binary_matrix", "__import__('sys').modules"),
        ("countdown", "[f for f in ().__class__.__base__.__subclasses__()]"),
        ("countdown", "sympify('__import__(\"os\").abort()')"),
        ("countdown", "Integral('__import__(\"os\").abort()', x)"),
        ("simple_integration", "exec('import os')"),
        ("puzzle24", "eval('24')"),
        ("polynomial_multiplication", "open('/etc/passwd').read()"),
    ],
)
def test_code_in_an_answer_is_not_run(cases: list[Case], verifier: Verifier, task: str, code: str) -> None:
    case = entry_of(cases, task)
    (verdict,) = verifier.verify([(case.entry, code.format(answer=case.answer))])
    assert verdict.correct is False
    assert verdict.score is not None
    assert verdict.score < 1


@pytest.mark.parametrize("answer", ["nan", "-NaN", "nan+nanj", r"\text{nan}"])
def test_nan_is_no_full_score(cases: list[Case], verifier: Verifier, answer: str) -> None:
    (verdict,) = verifier.verify([(entry_of(cases, "complex_arithmetic").entry, answer)])
    assert (verdict.correct, verdict.score) == (False, 0.0)


def test_names_of_formulas_are_allowed(cases: list[Case], verifier: Verifier) -> None:
    case = entry_of(cases, "countdown")
    answers = [f"Integer(1)*({case.answer})", f"{case.answer} + 0*sqrt(x)", f"abs({case.answer})", f"N({case.answer})"]
    verdicts = verifier.verify([(case.entry, answer) for answer in answers])
    assert [verdict.score for verdict in verdicts] == [0.05, 0.05, 1.0, 1.0]  # the first two use other numbers too


def test_latex_in_a_box_is_read_both_ways(cases: list[Case], verifier: Verifier) -> None:
    case = entry_of(cases, "spiral_matrix")
    (wrapped,) = verifier.verify([(case.entry, rf"\text{{{case.answer}}}")])
    assert wrapped.reason is Reason.FULL_SCORE
    case = entry_of(cases, "fraction_simplification")  # whose answers may be LaTeX themselves
    (same,) = verifier.verify([(case.entry, case.answer)])
    assert same.score == 1.0


def test_missing_and_too_long_answers_have_no_score(cases: list[Case], verifier: Verifier) -> None:
    entry = entry_of(cases, "countdown").entry  # whose scorer gives 0.01 for no answer
    verdicts = verifier.verify([(entry, ""), (entry, " \n"), (entry, "1" * (MAX_ANSWER_CHARACTERS + 1))])
    assert [(one.score, one.reason) for one in verdicts] == [
        (0.0, Reason.ANSWER_EMPTY),
        (0.0, Reason.ANSWER_EMPTY),
        (0.0, Reason.ANSWER_TOO_LONG),
    ]


def test_costly_answers_are_incorrect() -> None:
    source = GymSource.parse("reasoning-gym:countdown+puzzle24")
    (problem,) = gym_problems(source, 1)
    assert problem.entry
    with Verifier(2, 0.5, tasks=source.tasks) as verifier:
        verdicts = verifier.verify([(problem.entry, "9**9**9**9"), (problem.entry, "factorial(9999999)")])
    assert {(verdict.correct, verdict.score) for verdict in verdicts} == {(False, 0.0)}
    assert {verdict.reason for verdict in verdicts} <= {Reason.ANSWER_TIMEOUT, Reason.ANSWER_MEMORY}


def test_entry_that_is_too_costly_itself_has_no_verdict(cases: list[Case]) -> None:
    case = entry_of(cases, "countdown")
    entry = pickle.loads(case.entry.pickled)
    costly = GymEntry(case.entry.task, pickle.dumps({**entry, "answer": "9**9**9**9"}))
    with Verifier(1, 0.5, tasks=[costly.task]) as verifier:
        (verdict,) = verifier.verify([(costly, "9**9**9**8")])
    assert (verdict.correct, verdict.reason) == (None, Reason.GOLD_TOO_COSTLY)


def test_entry_of_another_task_is_a_mistake_of_the_caller(cases: list[Case]) -> None:
    with Verifier(1, 5.0) as verifier, pytest.raises(ValueError, match="no scorer of"):
        verifier.verify([(cases[0].entry, "1")])


def test_entry_needs_no_gold_answer(cases: list[Case], verifier: Verifier) -> None:
    assert verifier.check_gold(cases[0].entry).correct is True


def test_missing_library_is_named() -> None:
    with (
        Verifier(1, 5.0, tasks=[GymTask("no_such_task")]) as verifier,
        pytest.raises(Unavailable, match="reasoning-gym"),
    ):
        verifier.start()


@pytest.mark.parametrize(
    "value", ["'1.0'", "nan", "inf", "2.0", "-1.0", "True", "None", "1.0 ", "", "'no scor'", "1e5"]
)
def test_sandbox_cannot_return_another_score(cases: list[Case], verifier: Verifier, value: str) -> None:
    class Hijacked(ScoringSandbox):
        async def score(self, entry: GymEntry, answer: str | None):
            result = await original.score(entry, answer)
            result.value = value
            return result

    scorer = verifier._scorer
    original, case = scorer._sandbox, entry_of(cases, "countdown")
    scorer._sandbox = Hijacked([], 1, 5.0, "pod")
    scorer._sandbox.submit = original.submit  # type: ignore[method-assign]
    scorer._sandbox.start = original.start  # type: ignore[method-assign]
    try:
        (verdict,) = verifier.verify([(case.entry, case.answer)])
    finally:
        scorer._sandbox = original
    assert isinstance(verdict, Verdict)
    assert verdict.correct is not True


def test_cases_can_be_written_down(cases: list[Case]) -> None:
    json.dumps([case.answer for case in cases])

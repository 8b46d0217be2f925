"""Solved questions are graded, and a machine that cannot grade says so once."""

import pytest

from deepmath.cli.question_file import Question
from deepmath.cli.result_grader import ResultGrader
from deepmath.cli.solve_result import SolveResult
from deepmath.cli.solve_table import show_table
from deepmath.cli.text_console import TextConsole
from deepmath.errors import Unavailable
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.verdict import Reason, Verdict
from deepmath.grading.verifier import Verifier


def result(gold: str, answer: str, error: str = "") -> SolveResult:
    return SolveResult(Question(f"{gold}?", answer=gold), vote=pb.Vote(answer=answer), error=error)


@pytest.fixture
async def graded() -> list[SolveResult]:
    results = [
        result(r"\sqrt{8}", r"2\sqrt{2}"),
        result("x+1", "x+2"),
        result("???", "1"),
        result("", "1"),
        result("1", "1", "lost"),
    ]
    with Verifier(1, 10.0) as verifier:
        for one in results:
            await ResultGrader(verifier).grade(one)
    return results


def test_results_have_verdicts(graded: list[SolveResult]) -> None:
    assert [one.correct for one in graded] == [True, False, None, None, None]
    assert [(one.to_dict().get("verdict"), one.to_dict().get("reason")) for one in graded] == [
        (True, Reason.SAME_VALUE.value),
        (False, Reason.DIFFERENT.value),
        (None, Reason.GOLD_UNREADABLE.value),
        (None, None),
        (None, None),
    ]


def test_table_shows_the_verdicts_and_their_totals(
    graded: list[SolveResult], capsys: pytest.CaptureFixture[str]
) -> None:
    show_table(TextConsole(width=120), graded)
    *rows, totals = capsys.readouterr().out.splitlines()[1:]
    assert [next(word for word in row.split() if word in {"yes", "no", "?"}) for row in rows] == list(
        "yes no ? ? ?".split()
    )
    assert "no (x+1)" in rows[1]
    assert totals == "5 questions, 1 of 2 correct, 1 without a verdict, 0 snippets, 0 tokens, 1 failed"


class NoSandbox:
    """A verifier on a machine that lacks isolation layers: it grades numbers only."""

    def verify(self, pairs: list[tuple[str, str]]) -> list[Verdict]:
        if pairs[0][0].isdigit():
            return [Verdict.of(Reason.SAME_VALUE)]
        raise Unavailable("the layer landlock is missing")


async def test_missing_sandbox_is_said_once_and_other_answers_are_graded(capsys: pytest.CaptureFixture[str]) -> None:
    grader = ResultGrader(NoSandbox())  # type: ignore[arg-type]  # a verifier that refuses
    results = [result("x+1", "1+x"), result("7", "7"), result("x", "y")]
    for one in results:
        await grader.grade(one)
    assert [one.correct for one in results] == [None, True, None]
    assert capsys.readouterr().err == "deepmath: some answers are not graded: the layer landlock is missing\n"

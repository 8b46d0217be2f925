"""Verdicts on real samples of a public fixture, and gold answers of public datasets."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from deepmath.evaluation.majority_vote import majority_vote
from deepmath.grading.answer_extraction import extract_boxed
from deepmath.grading.equivalence_classes import equivalence_classes
from deepmath.grading.verifier import Verifier

DATA = Path(__file__).parents[2] / "../shared/data"

# Verdicts of the fixture that are its mistakes, by problem and sample.
MISTAKES = {
    **{
        (3, sample): r"it compared `4:30 \text{ p.m.}` with `4:30p..`, its damaged copy of the gold"
        for sample in range(8)
    },
    (72, 7): "it takes the gold 10{,}000 and the answer 10000 for different numbers",
}


def rows(name: str) -> list[dict[str, Any]]:
    if not (file := DATA / f"{name}.jsonl").exists():
        pytest.skip(f"no {file}")
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    with Verifier(2, 10.0) as verifier:
        yield verifier


def disagreements(verifier: Verifier, pairs: Sequence[Sequence[tuple[str, str]]]) -> set[tuple[int, int]]:
    """Return the samples of the fixture with other verdicts; `pairs` are (gold, answer) by problem and sample."""
    verdicts = iter(verifier.verify([pair for own in pairs for pair in own]))
    return {
        (problem, sample)
        for problem, row in enumerate(rows("majority_fixture"))
        for sample, score in enumerate(row["score"])
        if next(verdicts).correct is not score
    }


def test_answers_in_boxes_have_the_verdicts_of_the_fixture(verifier: Verifier) -> None:
    pairs = [[(row["answer"], extract_boxed(text)) for text in row["code"]] for row in rows("majority_fixture")]
    assert sum(map(len, pairs)) == 800
    assert disagreements(verifier, pairs) == MISTAKES.keys()


def test_extracted_answers_have_the_verdicts_of_the_fixture(verifier: Verifier) -> None:
    pairs = [[(row["gt"], answer) for answer in row["pred"]] for row in rows("majority_fixture")]
    assert (72, 7) in disagreements(verifier, pairs) <= MISTAKES.keys()


def test_correct_answers_of_the_fixture_vote_together_and_for_nothing_else(verifier: Verifier) -> None:
    problems = rows("majority_fixture")
    answers = [[extract_boxed(text) for text in row["code"]] for row in problems]
    for at, (row, own, number) in enumerate(
        zip(problems, answers, equivalence_classes(answers, verifier.verify), strict=True)
    ):
        correct = [score or (at, sample) in MISTAKES for sample, score in enumerate(row["score"])]
        of_correct = {number[answer] for answer, is_correct in zip(own, correct, strict=True) if is_correct}
        of_others = {
            number[answer] for answer, is_correct in zip(own, correct, strict=True) if answer and not is_correct
        }
        assert len(of_correct) <= 1, at
        assert of_correct.isdisjoint(of_others), at
        # Solve, which has no gold, and a report, which has one, see the same majority.
        vote = majority_vote([number.get(answer) for answer in own], next(iter(of_correct), None))
        with_gold = majority_vote(
            ["gold" if is_correct else number.get(answer) for answer, is_correct in zip(own, correct, strict=True)],
            "gold",
        )
        assert vote == with_gold


@pytest.mark.parametrize(("name", "count"), [("math500", 500), ("aime25", 30), ("gsm8k_test", 1319)])
def test_gold_answers_of_public_datasets_can_be_read(verifier: Verifier, name: str, count: int) -> None:
    golds = [row["answer"].split("####")[-1].strip() for row in rows(name)]
    verdicts = verifier.check_golds(golds)
    assert len(golds) == count
    assert [gold for gold, verdict in zip(golds, verdicts, strict=True) if not verdict.correct] == []


@pytest.mark.parametrize("name", ["math500", "aime25", "gsm8k_test"])
def test_gold_answers_of_public_datasets_equal_themselves(verifier: Verifier, name: str) -> None:
    golds = sorted({row["answer"].split("####")[-1].strip() for row in rows(name)})
    verdicts = verifier.verify([(gold, gold) for gold in golds])
    assert [gold for gold, verdict in zip(golds, verdicts, strict=True) if not verdict.correct] == []

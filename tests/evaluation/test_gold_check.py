"""Gold answers are checked before an evaluation samples."""

import pytest

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.errors import InvalidRequest
from deepmath.evaluation.gold_check import check_gold_answers
from deepmath.grading.verifier import Verifier


def problems(*golds: object) -> list[DatasetProblem]:
    return [DatasetProblem.of(f"{number}?", gold, f"id-{number}") for number, gold in enumerate(golds)]


def test_bad_gold_answers_are_named() -> None:
    with Verifier(1, 10.0) as verifier:
        assert check_gold_answers({"good": problems("1", "x+1", ["3", "5"])}, verifier) == []
        (warning,) = check_gold_answers({"good": problems("1"), "mixed": problems("1", None, "\frac12", "2")}, verifier)
        assert warning == (
            r"2 of 4 gold answers of mixed cannot be compared with: id-1 (''), id-2 ('\x0crac12'); "
            "their samples get no verdict"
        )
        with pytest.raises(InvalidRequest, match=r"2 of 2 gold answers of bad .* whose column of answers"):
            check_gold_answers({"bad": problems("", None)}, verifier)


def test_many_bad_gold_answers_are_counted() -> None:
    with Verifier(1, 10.0) as verifier:
        (warning,) = check_gold_answers({"one": problems(*["1"], *[None] * 1000)}, verifier)
    assert warning.startswith("1000 of 1001 gold answers")
    assert len(warning) < 1000

"""Benchmarks, from small files in each dataset's own layout."""

import json
from pathlib import Path

import pytest

from deepmath.errors import InvalidRequest, Unavailable
from deepmath.evaluation.benchmark_registry import BENCHMARKS, find

# A row of each dataset as its card shows it.
ROWS = {
    "math500": {
        "problem": "1+1?",
        "solution": "S",
        "answer": "2",
        "subject": "Algebra",
        "level": 2,
        "unique_id": "test/algebra/1.json",
    },
    "aime2025": {"question": "Find the sum.", "answer": "70"},
    "hmmt-feb-2025": {"problem_idx": 1, "answer": "103", "problem": "Compute it.", "problem_type": ["Algebra"]},
    "hle-math": {
        "id": "668825f80a642802bdfeadfa",
        "question": "Which?",
        "image": "",
        "answer": "D",
        "answer_type": "multipleChoice",
        "rationale": "R",
        "category": "Math",
    },
    "openmathreasoning-tir": {
        "expected_answer": "6",
        "problem_type": "has_answer_extracted",
        "generated_solution": "S",
        "problem": "How many?",
    },
}


def write(folder: Path, *rows: dict[str, object]) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize("name", ROWS)
def test_copy_of_a_benchmark_is_read_by_its_own_columns(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    (problem,) = find(f"{name}={write(tmp_path, row)}").problems()
    assert problem.text == row.get("problem", row.get("question"))
    assert problem.answer == row.get("answer", row.get("expected_answer"))


def test_rows_of_registry_and_test_are_of_the_same_benchmarks() -> None:
    assert {*ROWS, "synthetic"} == BENCHMARKS.keys()


def test_problems_with_a_picture_and_of_other_fields_are_no_mathematics_in_text(tmp_path: Path) -> None:
    rows = [ROWS["hle-math"] | change for change in ({}, {"id": "2", "category": "Physics"}, {"id": "3", "image": "x"})]
    assert len(find(f"hle-math={write(tmp_path, *rows)}").problems()) == 1


def test_file_is_a_benchmark_of_its_name(tmp_path: Path) -> None:
    file = write(tmp_path, {"problem": "1+1?", "answer": 2}, {"problem": "1+1?", "answer": 2}, {"problem": "2?"})
    found = find(str(file))
    assert found.name == "rows"
    assert [problem.answer for problem in found.problems()] == ["2", ""]
    assert len(found.problems(limit=1)) == 1


def test_synthetic_problems_are_always_the_same() -> None:
    assert find("synthetic").problems(5) == find("synthetic").problems()[:5]


@pytest.mark.parametrize(("name", "told"), [("math50", "did you mean math500"), ("zzz", "there are math500, aime2025")])
def test_unknown_name_is_refused_with_those_there_are(name: str, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        find(name)


def test_missing_column_is_told_with_those_there_are(tmp_path: Path) -> None:
    file = write(tmp_path, {"question": "1?", "answer": "1"})
    with pytest.raises(InvalidRequest, match="no column problem; it has question, answer"):
        find(str(file)).problems()


def test_benchmark_that_cannot_be_reached_says_how_to_fetch_it_and_where_to_put_it() -> None:
    with pytest.raises(Unavailable, match=r"hf download --repo-type dataset HuggingFaceH4/MATH-500.*math500=FOLDER"):
        find("math500").problems()

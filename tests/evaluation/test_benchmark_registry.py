"""Benchmarks, read from small files in each dataset's own layout."""

import json
from pathlib import Path
from typing import Any

import pytest

from deepmath.errors import InvalidRequest, Unavailable
from deepmath.evaluation.benchmark_registry import BENCHMARKS, find_benchmark

# One row of each dataset, as its card shows it.
ROWS: dict[str, dict[str, Any]] = {
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


def write(folder: Path, *rows: dict[str, Any]) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize("name", ROWS)
def test_copy_of_a_benchmark_is_read_by_the_columns_of_the_original(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    (problem,) = find_benchmark(f"{name}={write(tmp_path, row)}").problems()
    assert problem.text == row.get("problem", row.get("question"))
    assert problem.answer == row.get("answer", row.get("expected_answer"))


def test_every_benchmark_of_the_registry_is_tested() -> None:
    assert {*ROWS, "synthetic"} == BENCHMARKS.keys()


def test_problems_with_an_image_or_of_another_subject_are_filtered_out(tmp_path: Path) -> None:
    rows = [ROWS["hle-math"] | change for change in ({}, {"id": "2", "category": "Physics"}, {"id": "3", "image": "x"})]
    assert len(find_benchmark(f"hle-math={write(tmp_path, *rows)}").problems()) == 1


def test_file_is_a_benchmark_named_after_it(tmp_path: Path) -> None:
    file = write(tmp_path, {"problem": "1+1?", "answer": 2}, {"problem": "1+1?", "answer": 2}, {"problem": "2?"})
    found = find_benchmark(str(file))
    assert found.name == "rows"
    assert [problem.answer for problem in found.problems()] == ["2", ""]
    assert len(found.problems(limit=1)) == 1


def test_file_with_questions_and_solutions_like_gsm8k_is_a_benchmark(tmp_path: Path) -> None:
    file = write(tmp_path, {"question": "How many?", "answer": "She has 2 * 3 = <<2*3=6>>6.\n#### 6"})
    assert [(one.text, one.answer) for one in find_benchmark(str(file)).problems()] == [("How many?", "6")]


def test_synthetic_problems_are_reproducible() -> None:
    assert find_benchmark("synthetic").problems(5) == find_benchmark("synthetic").problems()[:5]


@pytest.mark.parametrize(
    ("name", "hint"), [("math50", "did you mean math500"), ("zzz", "choose one of math500, aime2025")]
)
def test_unknown_name_is_rejected_with_alternatives(name: str, hint: str) -> None:
    with pytest.raises(InvalidRequest, match=hint):
        find_benchmark(name)


def test_missing_column_is_reported_with_the_existing_ones(tmp_path: Path) -> None:
    file = write(tmp_path, {"text": "1?", "answer": "1"})
    with pytest.raises(InvalidRequest, match="no column problem; it has text, answer"):
        find_benchmark(str(file)).problems()


def test_unreachable_benchmark_is_reported_with_how_to_download_and_use_a_copy() -> None:
    with pytest.raises(Unavailable, match=r"hf download --repo-type dataset HuggingFaceH4/MATH-500.*math500=FOLDER"):
        find_benchmark("math500").problems()

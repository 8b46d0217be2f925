"""Benchmarks, read from small files in each dataset's own layout."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepmath.errors import InvalidRequest, Unavailable
from deepmath.evaluation.benchmark_registry import BENCHMARKS, find_benchmark
from deepmath.grading.verifier import Verifier

MATH_ARENA = {"problem_idx": 7, "answer": "103", "problem": "Compute it.", "problem_type": ["Algebra"]}

# One row of each dataset in the columns of its card, with a problem of our own.
ROWS: dict[str, dict[str, Any]] = {
    "gsm8k": {"question": "How many?", "answer": "She has 2 * 3 = <<2*3=6>>6.\n#### 6"},
    "gsm8k-train": {"question": "How much?", "answer": "It costs 500 * 2 = <<500*2=1000>>1,000.\n#### 1,000"},
    "math500": {
        "problem": "1+1?",
        "solution": "S",
        "answer": "2",
        "subject": "Algebra",
        "level": 2,
        "unique_id": "test/algebra/1.json",
    },
    "aime2024": {"id": 60, "problem": "Sum?", "solution": "S", "answer": "073", "url": "https://", "year": "2024"},
    "aime2025": {"question": "Find the sum.", "answer": "70"},
    "aime2026": {"problem_idx": 7, "answer": 277, "problem": "Find it."},
    "hmmt-feb-2025": MATH_ARENA,
    "hmmt-nov-2025": MATH_ARENA,
    "hmmt-feb-2026": MATH_ARENA,
    "amc2023": {"id": 0, "question": "Where do they meet?", "answer": "27.0", "url": "https://"},
    "olympiadbench": {
        "id": 2231,
        "question": r"Solve $x^{2}-5 x+6=0$.",
        "solution": ["S"],
        "final_answer": ["$2$,$3$"],
        "context": None,
        "modality": "Text-only",
        "is_multiple_answer": True,
        "unit": r"\mathrm{~cm}",
        "answer_type": "Numerical",
        "error": "1e-1",
        "question_type": "Open-ended",
        "subfield": "Algebra",
        "subject": "Math",
        "language": "English",
    },
    "imo-answerbench": {
        "Problem ID": "imo-bench-algebra-001",
        "Problem": "Find all $N$.",
        "Short Answer": r"$2^{u-2}$",
        "Category": "Algebra",
        "Subcategory": "Operation",
        "Source": "Own",
    },
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
# Id and gold answer where they are not those of the columns `id` and `answer`.
IDS = {"math500": "test/algebra/1.json", "aime2024": "60", "amc2023": "0", "olympiadbench": "2231"} | {
    "imo-answerbench": "imo-bench-algebra-001",
    "hle-math": "668825f80a642802bdfeadfa",
    **dict.fromkeys(("aime2026", "hmmt-feb-2025", "hmmt-nov-2025", "hmmt-feb-2026"), "7"),
}
GOLDS = {"gsm8k": "6", "gsm8k-train": "1,000", "aime2026": "277", "openmathreasoning-tir": "6"} | {
    "olympiadbench": "$2$,$3$",
    "imo-answerbench": r"$2^{u-2}$",
}

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def grading() -> Iterator[Verifier]:
    with Verifier(1, 10.0) as verifier:
        yield verifier


def write(folder: Path, *rows: dict[str, Any]) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize("name", ROWS)
def test_copy_of_a_benchmark_is_read_by_the_columns_of_the_original(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    (problem,) = find_benchmark(f"{name}={write(tmp_path, row)}").problems()
    assert problem.text == next(row[column] for column in ("problem", "question", "Problem") if column in row)
    assert problem.answer == GOLDS.get(name, row.get("answer"))
    assert problem.id == IDS.get(name, problem.digest)


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("name", ["olympiadbench", "imo-answerbench", "amc2023", "aime2026"])
def test_copy_in_another_format_has_the_same_problems(name: str, form: str, tmp_path: Path) -> None:
    import datasets

    dataset, file = datasets.Dataset.from_list([ROWS[name]]), tmp_path / f"rows.{form}"
    _ = dataset.to_csv(file) if form == "csv" else dataset.to_parquet(file)
    copies = (find_benchmark(f"{name}={path}").problems() for path in (file, write(tmp_path, ROWS[name])))
    assert next(copies) == next(copies)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize(
    ("question", "answer", "own_id"),
    [
        ("A?", None, None),
        ("A?", [], ""),
        ("A?", "9" * 100_000, "x" * 100_000),
        ("A?", ["1", None, "2"], ["a"]),
        ("A?", "٣", {"a": 1}),
        ("A?", 2.5, 7.0),
        ("A?", True, True),
        (None, "1", 1),
        ("  ", "1", 1),
        ("A?", [["1"]], 1),
        ("A?", {"value": 1}, 1),
        (["A?"], "1", 1),
        (7, "1", 1),
        ({"text": "A?"}, "1", 1),
    ],
)
def test_hostile_cells_give_a_problem_none_or_a_message(
    name: str, question: Any, answer: Any, own_id: Any, tmp_path: Path
) -> None:
    benchmark = find_benchmark(name)
    cells = {benchmark.problem: question, benchmark.answer: answer} | ({benchmark.id: own_id} if benchmark.id else {})
    copy = find_benchmark(f"{name}={write(tmp_path, ROWS[name] | cells)}")
    if question is None or question == "  ":
        with pytest.raises(InvalidRequest, match=f"{name} has no problems"):
            copy.problems()
    elif question != "A?" or answer in ([["1"]], {"value": 1}):
        with pytest.raises(InvalidRequest, match=r"line 1: the (question|answer)"):
            copy.problems()
    else:
        (problem,) = copy.problems()
        assert problem.id == ("7" if benchmark.id and own_id == 7.0 else problem.digest)


def test_ids_that_two_questions_share_are_replaced_and_no_question_is_lost(tmp_path: Path) -> None:
    texts = ["A?", "B?", "A?", "C?", "B?"]
    rows = [ROWS["aime2026"] | {"problem_idx": index % 2, "problem": text} for index, text in enumerate(texts)]
    problems = find_benchmark(f"aime2026={write(tmp_path, *rows)}").problems()
    assert [problem.text for problem in problems] == ["A?", "B?", "C?"]
    assert len({problem.id for problem in problems}) == 3


def test_copy_with_renamed_columns_or_without_ids_is_read(tmp_path: Path) -> None:
    rows = (
        [{"Question": "A?", "Answer": "2"}],
        [{"problem": "A?", "final_answer": ["2"]}],
        [{"QUESTION": "A?", "expected_answer": 2}],
    )
    for row in rows:
        for name in ("aime2024", "olympiadbench", "imo-answerbench"):
            (problem,) = find_benchmark(f"{name}={write(tmp_path, *row)}").problems()
            assert (problem.text, problem.answer, problem.id) == ("A?", "2", problem.digest)


@pytest.mark.parametrize(
    ("final_answer", "equal", "unequal"),
    [
        (["$2$,$3$"], "3, 2", "2"),
        (["$2$", "$3$"], r"x=2 \text{ or } x=3", "2, 3, 4"),
        (["2,3"], r"\{2,3\}", "23"),
        ([r"$\frac{1}{2}$"], "0.5", "2"),
        (["$(1,2),(3,4)$"], "(3,4), (1,2)", "(2,1),(3,4)"),
        ([r"$5 \mathrm{~cm}$"], "5", "6"),
        (["$10,000$", "$2$"], "2, 10000", "10, 0, 2"),
        (["$[1,2)$"], r"1 \le x < 2", "[1,2]"),
    ],
)
def test_answers_of_olympiadbench_are_graded(
    final_answer: list[str], equal: str, unequal: str, grading: Verifier, tmp_path: Path
) -> None:
    row = ROWS["olympiadbench"] | {"final_answer": final_answer}
    (problem,) = find_benchmark(f"olympiadbench={write(tmp_path, row)}").problems()
    verdicts = grading.verify([(problem.answer, equal), (problem.answer, unequal)])
    assert [verdict.correct for verdict in verdicts] == [True, False]


@pytest.mark.parametrize(
    ("name", "file", "count"),
    [
        ("math500", "math500.jsonl", 500),
        ("gsm8k", "gsm8k_test.jsonl", 1319),
        ("gsm8k-train", "gsm8k_train.jsonl", 7473),
        ("aime2025", "aime25.jsonl", 30),
    ],
)
def test_every_problem_of_the_real_sets_has_a_gold_answer_that_is_read(
    name: str, file: str, count: int, grading: Verifier
) -> None:
    if not (SHARED / file).is_file():
        pytest.skip(f"{file} is not at hand")
    problems = find_benchmark(f"{name}={SHARED / file}").problems()
    assert len(problems) == count
    golds = sorted({problem.answer for problem in problems})
    assert [one.correct for one in grading.check_golds(golds)] == [True] * len(golds)


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
    ("name", "hint"),
    [
        ("math50", "did you mean math500"),
        ("MATH-500", "did you mean math500"),
        ("amc23", "did you mean amc2023"),
        ("aime24", "did you mean aime2024"),
        ("HMMT_Feb_2026", "did you mean hmmt-feb-2026"),
        ("olympiad-bench", "did you mean olympiadbench"),
        ("gsm8=some.jsonl", "'gsm8' is neither a benchmark nor a file; did you mean gsm8k"),
        ("zzz", "choose one of gsm8k, gsm8k-train, math500"),
        ("z" * 150, "choose one of"),
    ],
)
def test_unknown_name_is_rejected_with_alternatives(name: str, hint: str) -> None:
    with pytest.raises(InvalidRequest, match=hint):
        find_benchmark(name)


def test_missing_column_is_reported_with_the_existing_ones(tmp_path: Path) -> None:
    file = write(tmp_path, {"text": "1?", "answer": "1"})
    with pytest.raises(InvalidRequest, match="no column problem; it has text, answer"):
        find_benchmark(str(file)).problems()


@pytest.mark.parametrize("name", sorted(ROWS))
def test_unreachable_benchmark_is_reported_with_how_to_download_and_use_a_copy(name: str) -> None:
    dataset = find_benchmark(name).splits[0].dataset
    with pytest.raises(Unavailable, match=f"hf download --repo-type dataset {dataset}`.*{name}=FOLDER"):
        find_benchmark(name).problems()

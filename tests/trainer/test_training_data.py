"""Training problems are loaded completely and once, or rejected with the reason."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deepmath_trainer import training_data
from deepmath_trainer.run_config import DataConfig
from deepmath_trainer.training_data import load_problems

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.data.dataset_reader import DatasetSplit
from deepmath.data.json_rows import DatasetRow
from deepmath.errors import InvalidRequest, Unavailable

ROWS = [
    {"problem": "What is 1 + 1?", "answer": "2", "solution": "It is 2.", "level": 1},
    {"problem": "What is half of 1?", "answer": r"\frac{1}{2}", "solution": "0.5", "level": 2},
    {"problem": "What is the root of 8?", "answer": r"$2\sqrt{2}$", "solution": "2.8", "level": 2},
]


def answers(problems: list[DatasetProblem]) -> list[str]:
    return [problem.answer for problem in problems]


@pytest.fixture
def jsonl(tmp_path: Path) -> Path:
    file = tmp_path / "problems.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    return file


@pytest.fixture
def jsonl_of(tmp_path: Path) -> Any:
    def write(*rows: tuple[str, Any]) -> str:
        file = tmp_path / "some.jsonl"
        file.write_text("".join(f"{json.dumps({'problem': text, 'answer': gold})}\n" for text, gold in rows))
        return str(file)

    return write


@pytest.mark.parametrize("form", ["jsonl", "json", "parquet", "csv", "saved", "saved splits", "folder"])
def test_local_data_is_read_in_every_format(form: str, tmp_path: Path) -> None:
    import datasets

    dataset, path = datasets.Dataset.from_list(ROWS), tmp_path / f"problems.{form}"
    match form:
        case "jsonl":
            dataset.to_json(path)
        case "json":
            path.write_text(json.dumps(ROWS))
        case "parquet":
            dataset.to_parquet(path)
        case "csv":
            dataset.to_csv(path)
        case "saved":
            dataset.save_to_disk(path)
        case "saved splits":
            datasets.DatasetDict(test=dataset.select([0]), train=dataset).save_to_disk(path)
        case "folder":
            path.mkdir()
            dataset.to_parquet(path / "train.parquet")
    problems = load_problems(DataConfig(dataset=str(path)), 0)
    assert [problem.text for problem in problems] == [row["problem"] for row in ROWS]
    assert answers(problems) == [row["answer"] for row in ROWS]


def test_problem_has_the_same_id_in_every_file(jsonl: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text(f"final,question\n2,{ROWS[0]['problem']}\n")
    (one,) = load_problems(DataConfig(dataset=str(other), problem="question", answer="final"), 0)
    assert one.id == load_problems(DataConfig(dataset=str(jsonl)), 0)[0].id


def test_solutions_are_never_read(jsonl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    rows = DatasetSplit.rows

    def recorded(split: DatasetSplit, columns: list[str]) -> Iterator[DatasetRow]:
        read.extend(columns)
        return rows(split, columns)

    monkeypatch.setattr(DatasetSplit, "rows", recorded)
    load_problems(DataConfig(dataset=str(jsonl), where={"level": 2}), 0)
    assert read == ["problem", "answer", "level"]


@pytest.mark.parametrize("level", [2, "2"])
def test_where_keeps_rows_with_the_value(jsonl: Path, level: int | str) -> None:
    assert len(load_problems(DataConfig(dataset=str(jsonl), where={"level": level}), 0)) == 2


def test_long_questions_are_excluded(jsonl: Path) -> None:
    assert answers(load_problems(DataConfig(dataset=str(jsonl), max_problem_chars=14), 0)) == ["2"]


def test_duplicate_question_is_one_problem(jsonl_of: Any) -> None:
    file = jsonl_of(("a?", "1"), ("b?", "2"), ("a?", "1"))
    assert [problem.text for problem in load_problems(DataConfig(dataset=file), 0)] == ["a?", "b?"]


def test_numeric_answers_become_text(jsonl_of: Any) -> None:
    assert answers(load_problems(DataConfig(dataset=jsonl_of(("a?", 1), ("b?", 2.5), ("c?", 3.0))), 0)) == [
        "1",
        "2.5",
        "3",
    ]


def test_answer_in_a_csv_keeps_all_its_digits(tmp_path: Path) -> None:
    file = tmp_path / "long.csv"
    file.write_text("problem,answer\nLong?,12345678901234567890123\n")
    assert answers(load_problems(DataConfig(dataset=str(file)), 0)) == ["12345678901234567890123"]


def test_list_and_missing_answers_become_text(jsonl_of: Any) -> None:
    file = jsonl_of(("a?", ["70"]), ("b?", ["3", 5]), ("c?", "x"), ("d?", True))
    assert answers(load_problems(DataConfig(dataset=file), 0)) == ["70", "3, 5", "x", "True"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (r'{"problem": "a?", "answer": "\frac{1}{2}"}', r"line 2: the answer has \\frac with one backslash"),
        (r'{"problem": "a?", "answer": ["1", "\text{m}"]}', r"line 2: the answer has \\text with one backslash"),
        (r'{"problem": "What is $\frac12$?", "answer": "1"}', r"line 2: the question has \\frac with one backslash"),
        (r'{"problem": "a?", "answer": [["1"]]}', "line 2: the answer .* write it as one LaTeX text"),
    ],
)
def test_damaged_answer_is_rejected_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "some.jsonl"
    file.write_text(f'{{"problem": "Find\\nan integer.", "answer": "1"}}\n{line}\n')
    with pytest.raises(InvalidRequest, match=message):
        load_problems(DataConfig(dataset=str(file)), 0)


def test_limit_draws_a_sample_by_the_seed(jsonl_of: Any) -> None:
    file = jsonl_of(*((f"{number}?", str(number)) for number in range(100)))
    first, again, other = (load_problems(DataConfig(dataset=file, limit=10), seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len({problem.id for problem in first}) == 10


def test_open_math_reasoning_is_mapped_by_default(tmp_path: Path) -> None:
    import datasets

    row = {"problem": "a?", "expected_answer": "1", "problem_type": "has_answer_extracted", "generated_solution": "s"}
    rows = [row, row | {"problem": "b?", "problem_type": "no_answer_extracted"}, row | {"generated_solution": "t"}]
    tir = datasets.Dataset.from_list(rows)
    folder = tmp_path / "OpenMathReasoning"
    datasets.DatasetDict(cot=tir.select([1]), tir=tir).save_to_disk(folder)
    (problem,) = load_problems(DataConfig(dataset=str(folder)), 0)
    assert (problem.text, problem.answer) == ("a?", "1")
    (other,) = load_problems(DataConfig(dataset=str(folder), where={"problem_type": "no_answer_extracted"}), 0)
    assert other.text == "b?"


def test_unparseable_gold_answers_are_excluded_with_a_warning(jsonl_of: Any, caplog: pytest.LogCaptureFixture) -> None:
    file = jsonl_of(("a?", "1"), ("b?", "???"), ("c?", None), ("d?", "x^2"), *((f"{n}?", n) for n in range(9)))
    with caplog.at_level(logging.WARNING):
        problems = load_problems(DataConfig(dataset=file), 0)
    assert {"???", ""}.isdisjoint(answers(problems))
    assert len(problems) == 11
    assert "2 of 13 answers" in caplog.text
    assert "'???'" in caplog.text


@pytest.mark.parametrize(("share", "fails"), [(0.4, True), (0.6, False)])
def test_too_many_unparseable_gold_answers_are_an_error(jsonl_of: Any, share: float, fails: bool) -> None:
    config = DataConfig(dataset=jsonl_of(("a?", "1"), ("b?", "???")), most_unparseable=share)
    if fails:
        with pytest.raises(InvalidRequest, match=r"1 of 2 answers .* data\.answer"):
            load_problems(config, 0)
    else:
        assert answers(load_problems(config, 0)) == ["1"]


def test_only_unparseable_gold_answers_are_an_error_whatever_the_share(jsonl_of: Any) -> None:
    with pytest.raises(InvalidRequest, match="1 of 1 answers"):
        load_problems(DataConfig(dataset=jsonl_of(("b?", "???")), most_unparseable=1.0), 0)


def test_only_a_sample_of_very_many_gold_answers_is_parsed(jsonl_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_data, "_MOST_PARSED", 3)
    file = jsonl_of(*((f"{n}?", "?" * n) for n in range(1, 13)), *((f"{n} and 1?", n) for n in range(36)))
    # A quarter of all is bad, although only 3 of the 12 bad ones were parsed.
    with pytest.raises(InvalidRequest, match="3 of 48 answers"):
        load_problems(DataConfig(dataset=file, most_unparseable=0.2), 0)
    assert len(load_problems(DataConfig(dataset=file, most_unparseable=0.3), 0)) == 45


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"problem": "question"}, "no column question; its columns are problem, answer, solution, level"),
        ({"answer": "final"}, "no column final; its columns are problem, answer, solution, level"),
        ({"where": {"source": "x"}}, "no column source; its columns are problem, answer, solution, level"),
        ({"where": {"level": 9}}, "no problem of .* matches; check data.where"),
        ({"max_problem_chars": 1}, "data.max_problem_chars"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_rejected(jsonl: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        load_problems(DataConfig(dataset=str(jsonl), **settings), 0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jsonl", b"", "empty.jsonl is empty"),
        ("header.csv", b"problem,answer\n", "header.csv is empty"),
        ("broken.jsonl", b'{"problem": "a", "ans\n', "broken.jsonl, line 1 is not valid JSON"),
        ("broken.parquet", b"hello", "cannot read"),
        ("latin.csv", b"problem,answer\n\xff,1\n", "latin.csv is not valid UTF-8: line 2"),
        ("notes.txt", b"a?", "give a file that ends in .csv, .json, .jsonl, .parquet"),
        ("gone.jsonl", None, "no such file"),
    ],
)
def test_unreadable_file_is_rejected(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidRequest, match=message) as refused:
        load_problems(DataConfig(dataset=str(tmp_path / name)), 0)
    assert "\n" not in str(refused.value)


def test_saved_dataset_without_rows_is_rejected(tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_list(ROWS).select([]).save_to_disk(tmp_path / "saved")
    with pytest.raises(InvalidRequest, match="saved is empty"):
        load_problems(DataConfig(dataset=str(tmp_path / "saved")), 0)


def test_unknown_split_is_rejected_with_the_known_ones(tmp_path: Path) -> None:
    import datasets

    datasets.DatasetDict(tir=datasets.Dataset.from_list(ROWS)).save_to_disk(tmp_path / "saved")
    with pytest.raises(InvalidRequest, match="no split train; there are tir"):
        load_problems(DataConfig(dataset=str(tmp_path / "saved")), 0)


def test_hub_dataset_neither_cached_nor_reachable_is_a_one_line_error() -> None:
    with pytest.raises(Unavailable, match="the hub cannot be reached") as refused:  # tests run with HF_HUB_OFFLINE
        load_problems(DataConfig(dataset="nvidia/OpenMathReasoning"), 0)
    assert "\n" not in str(refused.value)


def test_synthetic_problems_depend_on_split_and_seed() -> None:
    train, again, other = (load_problems(DataConfig(limit=60), seed) for seed in (1, 1, 2))
    test = load_problems(DataConfig(limit=60, split="test"), 1)
    assert train == again
    assert len(train) == len({problem.id for problem in train}) == 60
    assert len({*train} & {*other}) < 10
    assert not {*train} & {*test}


def test_family_and_difficulty_reach_the_problems(jsonl: Path) -> None:
    assert [one.difficulty for one in load_problems(DataConfig(dataset=str(jsonl)), 0)] == [1, 2, 2]
    made = load_problems(DataConfig(limit=96), 0)
    assert {one.difficulty for one in made} == {1, 2, 3}
    assert all(one.family for one in made)


def test_synthetic_problems_can_be_restricted_to_one_difficulty() -> None:
    assert {one.difficulty for one in load_problems(DataConfig(limit=96, where={"difficulty": 3}), 0)} == {3}


def test_synthetic_problems_can_be_restricted_to_one_family() -> None:
    assert load_problems(DataConfig(limit=60, where={"family": "gcd"}), 0)
    with pytest.raises(InvalidRequest, match="id, family, difficulty, problem, answer"):
        load_problems(DataConfig(limit=60, where={"kind": "gcd"}), 0)


def test_unknown_synthetic_split_is_rejected() -> None:
    with pytest.raises(InvalidRequest, match=r"data\.split is 'dev'"):
        load_problems(DataConfig(split="dev"), 0)


def test_synthetic_problems_load_neither_datasets_nor_torch() -> None:
    code = (
        "import sys; from deepmath_trainer.run_config import DataConfig\n"
        "from deepmath_trainer.training_data import load_problems\n"
        "load_problems(DataConfig(limit=9), 0); print({'datasets', 'torch', 'sympy'} & {*sys.modules})"
    )
    assert subprocess.check_output([sys.executable, "-P", "-c", code], text=True).strip() == "set()"

"""The figures of a real model are those of its verdicts and steps, and the page's are among them."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import real_model_report
from benchmarks.real_model import SCALES, gsm8k_rows, math_rows

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results" / "real-model"
PAGE = ROOT / "docs" / "real-model.md"
DATA = ROOT.parent / "shared" / "data"


def table_rows(text: str) -> set[str]:
    return {line for line in text.splitlines() if re.match(r"\| (Baseline|\+GRPO|\+Agent|DeepMath)\b", line)}


def test_tables_follow_from_the_verdicts_and_the_steps() -> None:
    assert real_model_report.tables(RESULTS) == (RESULTS / "table.md").read_text()


def test_rows_of_the_page_are_those_of_the_tables() -> None:
    rows = table_rows(PAGE.read_text())
    assert len(rows) >= 8
    assert rows <= table_rows((RESULTS / "table.md").read_text())


def test_results_show_a_kill_a_resumption_and_twenty_steps() -> None:
    events = [json.loads(line) for line in (RESULTS / "events.jsonl").read_text().splitlines()]
    names = [event["event"] for event in events]
    assert names.index("kill -9") < names.index("resume") < names.index("training")
    assert len((RESULTS / "steps.csv").read_text().splitlines()) > 20


def test_results_are_small_and_have_no_path_of_a_machine() -> None:
    files = [file for file in RESULTS.iterdir() if file.suffix != ".png"]
    assert sum(file.stat().st_size for file in RESULTS.iterdir()) < 300_000
    assert [file.name for file in files if re.search(r"/(tmp|work|var|root|home)/", file.read_text())] == []


def test_broken_line_of_a_running_experiment_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    file.write_text('{"a": 1}\n{"a": 2}\n{"a"')
    assert real_model_report.read(file) == [{"a": 1}, {"a": 2}]


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the public problem sets in ../shared/data")
def test_problem_sets_have_plain_answers_and_math500_is_used_once() -> None:
    rows = list(gsm8k_rows(DATA / "gsm8k_test.jsonl"))
    assert len(rows) == SCALES["gpu"].gsm8k
    assert all(re.fullmatch(r"-?[\d.]+", row["answer"]) for row in rows)
    problems = [row["problem"] for row in math_rows(DATA / "math500.jsonl")]
    assert len(problems) == len(set(problems)) == SCALES["gpu"].math500

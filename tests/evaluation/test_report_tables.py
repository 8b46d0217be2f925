"""The tables of a report."""

import csv
import io
from pathlib import Path

import pytest
from support.evaluation_runs import FAILED, OK, of_answers, write

from deepmath.evaluation import report_tables
from deepmath.evaluation.evaluation_report import EvaluationReport
from deepmath.evaluation.published_results import PublishedResult, PublishedResults
from deepmath.evaluation.text_table import TextTable
from deepmath.grading.verifier import Verifier

PUBLISHED = PublishedResults(
    "a blog", rows=tuple(PublishedResult(row, "synthetic", 91.25, 1234.4) for row in ("DeepMath", "Baseline"))
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> EvaluationReport:
    samples = [
        *of_answers("42", "42", "7", snippets=[OK, FAILED]),
        *of_answers("7", "7", "7", problem_id="p2"),
        *of_answers("42", "7", configuration="+Agent"),
        *of_answers("42", benchmark="math500"),
    ]
    run = write(tmp_path_factory.mktemp("table") / "run", *samples)
    with Verifier(1, 10.0) as verifier:
        return EvaluationReport.of([run], verifier, PUBLISHED)


def rows(table: TextTable) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.csv())))


def test_main_results_have_accuracy_and_length_of_each_benchmark(report: EvaluationReport) -> None:
    table = report_tables.main_results(report.statistics, report.ks, PublishedResults())
    assert table.headings == (
        *("configuration", "math500 majority@1, %", "math500 mean, %", "math500 tokens"),
        *("synthetic majority@2, %", "synthetic mean, %", "synthetic tokens"),
    )
    assert [row.cells for row in table.rows] == [
        ("+Agent", "", "", "", "50.0 [50.0, 50.0]", "50.0 [50.0, 50.0]", "40"),
        ("DeepMath", *["100.0 [100.0, 100.0]"] * 2, "40", *["33.3 [0.0, 66.7]"] * 2, "40"),
    ]


def test_published_results_follow_the_measured_ones_and_are_marked(report: EvaluationReport) -> None:
    table = report_tables.main_results(report.statistics, report.ks, PUBLISHED)
    assert [(row.cells[0], row.published) for row in table.rows] == [
        ("+Agent", False),
        ("DeepMath", False),
        ("DeepMath, published", True),
        ("Baseline, published", True),
    ]
    assert table.rows[2].cells[4:] == ("91.2 (majority@16)", "", "1234")
    assert "| *DeepMath, published* |  |  |  | *91.2 (majority@16)* |  | *1234* |" in table.markdown()


def test_csv_has_every_statistic_by_name(report: EvaluationReport) -> None:
    table = rows(report_tables.all_statistics(report.statistics, report.ks, PUBLISHED))
    own = [row for row in table if (row["configuration"], row["benchmark"]) == ("DeepMath", "synthetic")]
    measured, published = (next(row for row in own if row["source"] == source) for source in ("ours", "a blog"))
    assert (measured["k"], measured["mean"], measured["majority"], measured["pass"]) == ("2", "33.3", "33.3", "50.0")
    assert (measured["tokens"], measured["model_tokens_p90"], measured["tool_tokens_p99"]) == ("40.0", "30.0", "10.0")
    assert (measured["snippets"], measured["snippet_failures"], measured["outcomes"]) == (
        "1.0",
        "50.0",
        "3 exception, 3 ok",
    )
    assert (published["k"], published["majority"], published["tokens"], published["samples"]) == (
        "16",
        "91.2",
        "1234.4",
        "",
    )


def test_curves_have_a_row_for_every_k(report: EvaluationReport) -> None:
    found = rows(report_tables.curves(report.statistics))
    assert [row["k"] for row in found if row["configuration"] == "DeepMath"] == ["1", "1", "2", "3"]
    assert found[-1]["majority"] == found[-1]["pass"] == "50.0"


def test_every_row_has_a_cell_for_each_heading(report: EvaluationReport) -> None:
    for table in report.tables:
        assert all(len(row.cells) == len(table.headings) for row in table.rows)


def test_mean_score_is_shown_where_problems_have_scorers(tmp_path: Path) -> None:
    samples = [
        *of_answers("42", "7", score=0.25, correct=False, benchmark="reasoning-gym:gcd"),
        *of_answers("42", "7"),
    ]
    with Verifier(1, 10.0) as verifier:
        report = EvaluationReport.of([write(tmp_path / "run", *samples)], verifier, PUBLISHED)
    found = {row["benchmark"]: row for row in rows(report_tables.accuracy(report.statistics, report.ks))}
    assert found["reasoning-gym:gcd"]["mean score, %"] == "25.0 [25.0, 25.0]"
    assert found["reasoning-gym:gcd"]["mean@k, %"] == "0.0 [0.0, 0.0]"
    assert found["synthetic"]["mean score, %"] == ""
    every = rows(report_tables.all_statistics(report.statistics, report.ks, PublishedResults()))
    assert [row["score"] for row in every] == ["", "25.0"]

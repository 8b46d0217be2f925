"""Tables as text."""

import csv
import io

import pytest
from support.evaluation_runs import FAILED, OK, of_answers, write

from deepmath.evaluation import report_tables
from deepmath.evaluation.evaluation_report import EvaluationReport
from deepmath.evaluation.published_results import Published, PublishedRow
from deepmath.evaluation.text_table import TableRow, TextTable, percent
from deepmath.grading.verifier import Verifier

PUBLISHED = Published(
    "a blog", rows=tuple(PublishedRow(row, "synthetic", 91.25, 1234.4) for row in ("DeepMath", "Baseline"))
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


def test_seeds_table_has_accuracy_and_length_of_each_benchmark(report: EvaluationReport) -> None:
    table = report_tables.results(report.figures, report.ks, Published())
    assert table.headings == (
        *("configuration", "math500 majority@1, %", "math500 tokens"),
        *("synthetic majority@2, %", "synthetic tokens"),
    )
    assert [row.cells for row in table.rows] == [
        ("+Agent", "", "", "50.0 [50.0, 50.0]", "40"),
        ("DeepMath", "100.0 [100.0, 100.0]", "40", "33.3 [0.0, 66.7]", "40"),
    ]


def test_what_others_published_stands_below_ours_and_is_marked(report: EvaluationReport) -> None:
    table = report_tables.results(report.figures, report.ks, PUBLISHED)
    assert [(row.cells[0], row.theirs) for row in table.rows] == [
        ("+Agent", False),
        ("DeepMath", False),
        ("DeepMath, published", True),
        ("Baseline, published", True),
    ]
    assert table.rows[2].cells[3:] == ("91.2 (majority@16)", "1234")
    assert "| *DeepMath, published* |  |  | *91.2 (majority@16)* | *1234* |" in table.markdown()


def test_markdown_shows_a_name_as_it_is() -> None:
    table = TextTable(
        "",
        ("name", "number"),
        (
            TableRow(
                ("a|b\n<c>*d*", "1"),
            ),
        ),
    )
    assert table.markdown() == "| name | number |\n| -- | --: |\n| a\\|b &lt;c>\\*d\\* | 1 |\n"


def test_csv_has_every_figure_by_its_name(report: EvaluationReport) -> None:
    ours, theirs = (
        next(row for row in rows(report_tables.everything(report.figures, report.ks, PUBLISHED)) if row["source"] == source
             and row["configuration"] == "DeepMath" and row["benchmark"] == "synthetic")
        for source in ("ours", "a blog")
    )  # fmt: skip
    assert (ours["k"], ours["mean"], ours["majority"], ours["pass"]) == ("2", "33.3", "33.3", "50.0")
    assert (ours["tokens"], ours["model_tokens_p90"], ours["tool_tokens_p99"]) == ("40.0", "30.0", "10.0")
    assert (ours["snippets"], ours["snippet_failures"], ours["outcomes"]) == ("1.0", "50.0", "3 exception, 3 ok")
    assert (theirs["k"], theirs["majority"], theirs["tokens"], theirs["samples"]) == ("16", "91.2", "1234.4", "")


def test_curves_have_a_line_for_every_k(report: EvaluationReport) -> None:
    found = rows(report_tables.curves(report.figures))
    assert [row["k"] for row in found if row["configuration"] == "DeepMath"] == ["1", "1", "2", "3"]
    assert found[-1]["majority"] == found[-1]["pass"] == "50.0"


def test_every_table_has_a_cell_for_each_heading(report: EvaluationReport) -> None:
    for table in report.tables:
        assert all(len(row.cells) == len(table.headings) for row in table.rows)


@pytest.mark.parametrize(("share", "told"), [(0.64449, "64.4"), (1, "100.0"), (0, "0.0"), (None, "")])
def test_percentages_have_one_decimal(share: float | None, told: str) -> None:
    assert percent(share) == told

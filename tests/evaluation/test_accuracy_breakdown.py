"""Accuracy by difficulty and by family, against values counted by hand, and its tables."""

import csv
from pathlib import Path

import pytest
from support.evaluation_runs import of_answers, sample, write

from deepmath.evaluation.accuracy_breakdown import MOST_FAMILIES, by_family
from deepmath.evaluation.answer_classes import JudgedProblem
from deepmath.evaluation.breakdown_tables import all_groups, difficulty_tables, family_table
from deepmath.evaluation.evaluation_report import EvaluationReport
from deepmath.evaluation.graded_sample import GradedSample
from deepmath.evaluation.published_results import PublishedResults
from deepmath.grading.verifier import Verifier

ANSWERS = {("p1", "gcd", 1): "42 42 7", ("p2", "gcd", 1): "42 7 8", ("p3", "urn", 3): "7 7 42"}


def samples(configuration: str, **changes: object) -> list[GradedSample]:
    return [
        one
        for (problem, family, difficulty), answers in ANSWERS.items()
        for one in of_answers(
            *answers.split(),
            problem_id=problem,
            configuration=configuration,
            **{"family": family, "difficulty": difficulty} | changes,
        )
    ]


def report_of(folder: Path, *samples: GradedSample) -> EvaluationReport:
    with Verifier(1, 10.0) as verifier:
        return EvaluationReport.of([write(folder / "run", *samples)], verifier, PublishedResults())


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> EvaluationReport:
    baseline = samples("Baseline")[3:]  # without p1
    return report_of(tmp_path_factory.mktemp("groups"), *samples("DeepMath"), *baseline)


def test_groups_are_scored_by_their_own_problems(report: EvaluationReport) -> None:
    (one,) = [found for found in report.statistics if found.configuration == "DeepMath"]
    assert {level: group.mean.value for level, group in one.difficulties.items()} == {1: 1 / 2, 3: 1 / 3}
    assert {level: group.majority(3).value for level, group in one.difficulties.items()} == {1: (1 + 1 / 3) / 2, 3: 0}
    assert {family: group.problems for family, group in one.families.items()} == {"gcd": 2, "urn": 1}


def test_difficulties_are_columns_with_their_number_of_problems(report: EvaluationReport) -> None:
    (table,) = difficulty_tables(report.statistics, report.ks)
    assert table.title == "Accuracy by difficulty: synthetic"
    assert table.headings[2:] == ("difficulty 1 (2 problems)", "difficulty 3 (1 problems)")
    assert [row.cells for row in table.rows] == [
        ("Baseline", "majority@3, %", "33.3 [33.3, 33.3]", "0.0 [0.0, 0.0]"),
        ("DeepMath", "majority@3, %", "66.7 [33.3, 100.0]", "0.0 [0.0, 0.0]"),
        ("Baseline", "mean, %", "33.3 [33.3, 33.3]", "33.3 [33.3, 33.3]"),
        ("DeepMath", "mean, %", "50.0 [33.3, 66.7]", "33.3 [33.3, 33.3]"),
    ]


def test_families_are_rows_of_a_folded_table(report: EvaluationReport) -> None:
    table = family_table(report.statistics, report.ks)
    assert table
    assert table.folded
    assert table.headings == ("benchmark", "family", "problems", "Baseline mean, %", "DeepMath mean, %")
    assert [row.cells for row in table.rows] == [
        ("synthetic", "gcd", "2", "33.3", "50.0"),
        ("synthetic", "urn", "1", "33.3", "33.3"),
    ]


def test_programs_get_every_group(report: EvaluationReport, tmp_path: Path) -> None:
    rows = list(csv.DictReader(all_groups(report.statistics, report.ks).csv().splitlines()))
    assert [(row["by"], row["group"]) for row in rows if row["configuration"] == "DeepMath"] == [
        *(("difficulty", "1"), ("difficulty", "3"), ("family", "gcd"), ("family", "urn"))
    ]
    report.write(tmp_path, 1)
    assert (tmp_path / "groups.csv").exists()
    assert (tmp_path / "plots" / "difficulty.png").read_bytes().startswith(b"\x89PNG")
    assert "![Accuracy against difficulty](plots/difficulty.svg)" in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize("changes", [{"difficulty": None, "family": ""}, {"difficulty": 2, "family": "gcd"}], ids=str)
def test_one_group_or_none_is_no_breakdown(tmp_path: Path, changes: dict[str, object]) -> None:
    report = report_of(tmp_path, *samples("DeepMath", **changes))
    assert [table.title for table in report.tables] == [
        *("Accuracy and mean output length", "Accuracy", "Output", "Samples")
    ]
    report.write(tmp_path / "report", 1)
    assert not (tmp_path / "report" / "plots" / "difficulty.svg").exists()


def test_samples_of_an_earlier_version_are_graded_by_the_later_ones(tmp_path: Path) -> None:
    early, late = sample(), sample(number=1, family="gcd", difficulty=1)
    (statistics,) = report_of(tmp_path, early, late, *samples("DeepMath")[3:]).statistics
    assert {level: group.problems for level, group in statistics.difficulties.items()} == {1: 2, 3: 1}


def test_only_the_largest_families_are_kept() -> None:
    problems = [JudgedProblem(str(at), "42", (True,), (0,), (), f"family {at}") for at in range(500)]
    problems.append(JudgedProblem("more", "42", (True,), (0,), (), "family 499"))
    found = by_family(problems)
    assert len(found) == MOST_FAMILIES
    assert found["family 499"].problems == 2

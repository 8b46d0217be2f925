"""The four-way table of the embedded model is that of its samples."""

import re
from pathlib import Path

from deepmath.evaluation.evaluation_report import EvaluationReport
from deepmath.evaluation.published_results import read_published
from deepmath.grading.verifier import Verifier

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "four-way"


def test_table_follows_from_the_samples_and_its_pictures_are_there(tmp_path: Path) -> None:
    with Verifier(1, 10.0) as verifier:
        EvaluationReport.of([RESULTS], verifier, read_published()).write(tmp_path, 0)
    table = (RESULTS / "table.md").read_text()
    assert table == (tmp_path / "table.md").read_text()
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", table)
    assert pictures
    assert [picture for picture in pictures if not (RESULTS / picture).exists()] == []

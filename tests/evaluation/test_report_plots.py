"""Plot files."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.evaluation_runs import OK, of_answers, write

from deepmath.evaluation.evaluation_report import EvaluationReport
from deepmath.evaluation.published_results import PublishedResult, PublishedResults
from deepmath.evaluation.report_plots import write_plots
from deepmath.grading.verifier import Verifier

PUBLISHED = PublishedResults("a blog", rows=(PublishedResult("DeepMath", "synthetic", 91.0, 50.0),))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> EvaluationReport:
    samples = [
        one
        for at, row in enumerate(("Baseline", "+GRPO", "+Agent", "DeepMath"))
        for benchmark in ("synthetic", "$a_{<b>&")
        for one in of_answers("42", "7", "42", configuration=row, benchmark=benchmark, snippets=[OK] * at)
    ]
    run = write(tmp_path_factory.mktemp("plots") / "run", *samples)
    with Verifier(1, 10.0) as verifier:
        return EvaluationReport.of([run], verifier, PUBLISHED)


def test_every_plot_is_written_as_png_and_svg(report: EvaluationReport, tmp_path: Path) -> None:
    plots = write_plots(report.statistics, report.ks, PUBLISHED, tmp_path)
    names = {"accuracy", "lengths", "majority", "snippets"}
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert {path.stem for path in plots.values()} == names
    for name in names:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert ElementTree.parse(tmp_path / f"{name}.svg").getroot().tag.endswith("svg")


def test_equal_statistics_give_byte_identical_svg(report: EvaluationReport, tmp_path: Path) -> None:
    first, second = (write_plots(report.statistics, report.ks, PUBLISHED, tmp_path / side) for side in "ab")
    assert [path.read_bytes() for path in first.values()] == [path.read_bytes() for path in second.values()]


def test_run_with_one_sample_and_no_snippets_is_plotted(tmp_path: Path) -> None:
    run = write(tmp_path / "run", *of_answers("7", model_tokens=0, tool_tokens=0))
    with Verifier(1, 10.0) as verifier:
        report = EvaluationReport.of([run], verifier, PublishedResults())
    assert len(write_plots(report.statistics, report.ks, PublishedResults(), tmp_path / "plots")) == 4

"""Plots as files."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.evaluation_runs import OK, of_answers, write

from deepmath.evaluation.evaluation_report import EvaluationReport
from deepmath.evaluation.published_results import Published, PublishedRow
from deepmath.evaluation.report_plots import draw
from deepmath.grading.verifier import Verifier

PUBLISHED = Published("a blog", rows=(PublishedRow("DeepMath", "synthetic", 91.0, 50.0),))


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


def test_every_plot_is_a_png_and_an_svg(report: EvaluationReport, tmp_path: Path) -> None:
    drawn = draw(report.figures, report.ks, PUBLISHED, tmp_path)
    names = {"accuracy", "lengths", "majority", "snippets"}
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert {path.stem for path in drawn.values()} == names
    for name in names:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert ElementTree.parse(tmp_path / f"{name}.svg").getroot().tag.endswith("svg")


def test_same_figures_give_the_same_svg(report: EvaluationReport, tmp_path: Path) -> None:
    first, second = (draw(report.figures, report.ks, PUBLISHED, tmp_path / side) for side in "ab")
    assert [path.read_bytes() for path in first.values()] == [path.read_bytes() for path in second.values()]


def test_run_without_snippets_and_with_one_sample_is_drawn(tmp_path: Path) -> None:
    run = write(tmp_path / "run", *of_answers("7", model_tokens=0, tool_tokens=0))
    with Verifier(1, 10.0) as verifier:
        report = EvaluationReport.of([run], verifier, Published())
    assert len(draw(report.figures, report.ks, Published(), tmp_path / "plots")) == 4

"""Plots of a run."""

from pathlib import Path

import pytest
from deepmath_trainer.run_folder import RunFolder

PNG = b"\x89PNG\r\n\x1a\n"
FIGURES = {"problems": 400, "accuracy": 0.25, "code_rate": 0.5, "code_executed_rate": 0.375, "model_tokens": 90.5}
EVALUATION = {"before": FIGURES, "after": FIGURES | {"accuracy": 0.875}}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def test_each_metric_has_its_plot(folder) -> None:
    from deepmath_trainer.training_plots import draw_plots

    folder.append_metrics(1, {"reward": 0.1, "accuracy": 0.2, "code_rate": 0.3, "model_tokens": 50, "temperature": 1})
    folder.append_metrics(2, {"reward": float("nan"), "accuracy": 0.4})
    folder.write_evaluation(EVALUATION)
    paths = draw_plots(folder)
    measured = {"reward", "accuracy", "code_rate", "length", "temperature", "groups", "pools"}
    assert {path.stem for path in paths} == measured | {"overview"}
    assert all(path.read_bytes().startswith(PNG) for path in paths)


def test_run_without_steps_has_empty_plots(folder) -> None:
    from deepmath_trainer.training_plots import draw_plots

    assert all(path.read_bytes().startswith(PNG) for path in draw_plots(folder))

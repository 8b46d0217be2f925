"""The live panel of a training run."""

import pytest

from deepmath.cli.text_console import TextConsole
from deepmath.cli.training_panel import TrainingPanel, sparkline

from .training_updates import UPDATES, WAITING


@pytest.mark.parametrize("width", [40, 80, 200])
def test_panel_fits_any_width(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    console = TextConsole(width=width)
    panel = TrainingPanel(console)
    for update in UPDATES[:-1]:
        panel.show(update)
    console.print(panel.render())
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("lesson", "step 1 of 10", "accuracy", "25.0%", "[red]1 + 1", "expected 2"))
    assert max(map(len, shown.splitlines())) <= width


def test_panel_shows_what_a_run_waits_for(capsys: pytest.CaptureFixture[str]) -> None:
    console = TextConsole(width=100)
    panel = TrainingPanel(console)
    panel.show(WAITING)
    console.print(panel.render())
    shown = capsys.readouterr().out
    assert "waiting, step 0 of 10" in shown
    assert "waiting for a generator: the generator at g:1 is [red]loading" in shown


@pytest.mark.parametrize(
    ("values", "bars"), [([], ""), ([1.0], "▁"), ([2.0, 2.0], "▁▁"), ([0.0, 1.0], "▁█"), ([0, 0, 7, 7, 3, 4], "▁█▅")]
)
def test_sparkline_is_scaled_from_minimum_to_maximum(values: list[float], bars: str) -> None:
    assert sparkline(values, 3) == bars

"""The temperature of a step depends on its number only."""

import pytest
from deepmath_trainer.temperature_schedule import TemperatureSchedule

PAPER = TemperatureSchedule(1.2, 0.7, 1000)


@pytest.mark.parametrize(("step", "temperature"), [(0, 1.2), (500, 0.95), (999, 0.7005), (1000, 0.7), (5000, 0.7)])
def test_schedule_of_the_paper_falls_linearly_then_stays_constant(step: int, temperature: float) -> None:
    assert PAPER.at(step) == pytest.approx(temperature)


def test_schedule_reaches_its_end_exactly() -> None:
    assert TemperatureSchedule(1.2, 0.7, 3).at(3) == 0.7


def test_schedule_with_equal_ends_is_constant() -> None:
    assert {TemperatureSchedule(0.9, 0.9, 7).at(step) for step in range(20)} == {0.9}

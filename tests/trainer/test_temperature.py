"""The temperature of a step depends on its number alone."""

import pytest

from services.trainer.temperature import Schedule

SEEDS = Schedule(1.2, 0.7, 1000)


@pytest.mark.parametrize(("step", "temperature"), [(0, 1.2), (500, 0.95), (999, 0.7005), (1000, 0.7), (5000, 0.7)])
def test_schedule_of_the_seeds_falls_linearly_and_stays(step: int, temperature: float) -> None:
    assert SEEDS.at(step) == pytest.approx(temperature)


def test_schedule_ends_at_its_end_exactly() -> None:
    assert Schedule(1.2, 0.7, 3).at(3) == 0.7


def test_schedule_with_equal_ends_is_constant() -> None:
    assert {Schedule(0.9, 0.9, 7).at(step) for step in range(20)} == {0.9}

"""The order of problems is a function of seed and position."""

from deepmath_trainer.problem_order import ProblemOrder


def test_every_epoch_has_every_problem_once_in_another_order() -> None:
    order = ProblemOrder(10, seed=3)
    epochs = [order.indices(10 * epoch, 10) for epoch in range(4)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_order_depends_on_seed_and_position_only() -> None:
    whole = ProblemOrder(7, seed=1).indices(0, 50)
    assert [index for start in range(0, 50, 5) for index in ProblemOrder(7, seed=1).indices(start, 5)] == whole
    assert ProblemOrder(7, seed=2).indices(0, 50) != whole

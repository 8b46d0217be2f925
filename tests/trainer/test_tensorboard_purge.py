"""A resumed run has each step once in TensorBoard."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # imports torch and TensorBoard


def log(folder: Path, *points: tuple[int, float]) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for step, value in points:
            writer.add_scalar("reward", value, step)


def test_steps_after_the_checkpoint_are_those_of_the_resumed_run(tmp_path: Path) -> None:
    from deepmath_trainer.tensorboard_purge import purge_after
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    purge_after(tmp_path / "absent", 0)
    assert not (tmp_path / "absent").exists()
    folder = tmp_path / "log"
    log(folder, (1, 0.1), (2, 0.2), (3, 0.3))
    purge_after(folder, 2)
    log(folder, (3, 0.9))
    events = EventAccumulator(str(folder))
    events.Reload()
    found = [(event.step, round(event.value, 3)) for event in events.Scalars("reward")]
    assert found == [(1, 0.1), (2, 0.2), (3, 0.9)]

"""What a killed trainer had sampled is found again."""

from pathlib import Path

import pytest
from deepmath_trainer.trajectory_journal import TrajectoryJournal

from deepmath.generator.v1 import generator_pb2 as pb


def response(name: str, version: int = 3) -> pb.RolloutResponse:
    segment = pb.Segment(
        source=pb.Segment.SOURCE_MODEL, token_ids=[1, 2], logprobs=[-0.5, -1.0], policy_version=version
    )
    return pb.RolloutResponse(id=name, trajectory=pb.Trajectory(answer=name, segments=[segment]))


@pytest.fixture
def journal(tmp_path: Path) -> TrajectoryJournal:
    return TrajectoryJournal(tmp_path / "journal")


def written(journal: TrajectoryJournal, *names: str) -> None:
    batch = journal.open(7, offset=0)
    for name in names:
        batch.append(response(name))
    batch.close()


def test_trajectories_are_found_by_their_id(journal: TrajectoryJournal) -> None:
    written(journal, "a", "b")
    assert journal.open(7, offset=0).found == {"a": response("a"), "b": response("b")}
    assert journal.open(8, offset=0).found == {}


@pytest.mark.parametrize("cut", [1, 3, 20])
def test_torn_last_trajectory_costs_no_other(journal: TrajectoryJournal, tmp_path: Path, cut: int) -> None:
    written(journal, "a", "b")
    (path,) = (tmp_path / "journal").iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    again = journal.open(7, offset=0)
    assert set(again.found) == {"a"}
    again.append(response("c"))
    again.close()
    assert set(journal.open(7, offset=0).found) == {"a", "c"}


@pytest.mark.parametrize("length", [0, 5])
def test_file_without_a_whole_head_is_empty(journal: TrajectoryJournal, tmp_path: Path, length: int) -> None:
    written(journal, "a")
    (path,) = (tmp_path / "journal").iterdir()
    path.write_bytes(path.read_bytes()[:length])
    assert journal.open(7, offset=0).found == {}


def test_versions_are_those_of_the_run_that_goes_on(journal: TrajectoryJournal) -> None:
    written(journal, "a")
    (segment,) = journal.open(7, offset=10).found["a"].trajectory.segments
    assert segment.policy_version == 13


def test_batches_that_a_checkpoint_holds_are_dropped(journal: TrajectoryJournal) -> None:
    written(journal, "a")
    journal.forget_before(7)
    assert journal.open(7, offset=0).found
    journal.forget_before(8)
    assert not journal.open(7, offset=0).found

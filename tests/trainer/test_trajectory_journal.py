"""The trajectories of a killed trainer are found again."""

from contextlib import closing
from pathlib import Path

import pytest
from deepmath_trainer import trajectory_journal
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


def write(journal: TrajectoryJournal, *names: str) -> None:
    batch = journal.open(7)
    for name in names:
        batch.append(response(name))
    batch.close()


def found(journal: TrajectoryJournal, batch: int = 7) -> dict[str, pb.RolloutResponse]:
    """Return what a new process finds of `batch`."""
    with closing(journal.open(batch)) as opened:
        return opened.found


def test_trajectories_are_found_by_their_id(journal: TrajectoryJournal) -> None:
    write(journal, "a", "b")
    assert found(journal) == {"a": response("a"), "b": response("b")}
    assert found(journal, 8) == {}


@pytest.mark.parametrize("cut", [1, 3, 20])
def test_torn_last_trajectory_is_ignored_and_the_others_kept(
    journal: TrajectoryJournal, tmp_path: Path, cut: int
) -> None:
    write(journal, "a", "b")
    (path,) = (tmp_path / "journal").iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    assert set(found(journal)) == {"a"}
    write(journal, "c")
    assert set(found(journal)) == {"a", "c"}


@pytest.mark.parametrize("length", [0, 5])
def test_file_without_a_complete_trajectory_is_empty(journal: TrajectoryJournal, tmp_path: Path, length: int) -> None:
    write(journal, "a")
    (path,) = (tmp_path / "journal").iterdir()
    path.write_bytes(path.read_bytes()[:length])
    assert found(journal) == {}


@pytest.mark.parametrize(
    "garbage", [b"\xff" * 9 + b"\x01", b"\xff" * 8 + b"\x7f", b"\xff" * 20, b"\x00" * 50, b"\x05gar"]
)
def test_trajectories_before_garbage_are_kept(journal: TrajectoryJournal, tmp_path: Path, garbage: bytes) -> None:
    """As a power failure may leave it: lengths of more than any memory among others."""
    write(journal, "a")
    (path,) = (tmp_path / "journal").iterdir()
    path.write_bytes(path.read_bytes() + garbage)
    write(journal, "b")
    assert {"a", "b"} <= set(found(journal))


def test_opening_rewrites_nothing(journal: TrajectoryJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trainer that is killed while it opens a batch has lost none of it."""
    write(journal, "a", "b")
    (path,) = (tmp_path / "journal").iterdir()
    path.write_bytes(path.read_bytes()[:-1])

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trajectory_journal, "serialize_length_prefixed", killed)
    assert set(found(journal)) == {"a"}
    assert set(found(journal)) == {"a"}


def test_batches_covered_by_a_checkpoint_are_deleted(journal: TrajectoryJournal) -> None:
    write(journal, "a")
    journal.discard_before(7)
    assert found(journal)
    journal.discard_before(8)
    assert not found(journal)

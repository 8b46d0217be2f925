"""A checkpoint is in its place completely or not at all."""

from pathlib import Path

import pytest
from deepmath_trainer.checkpoint_store import CheckpointStore


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints", keep=2)


def stage(store: CheckpointStore, step: int) -> None:
    folder = store.staging / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "optimizer.pt").write_text(str(step))


def steps(store: CheckpointStore) -> list[int]:
    return [checkpoint.step for checkpoint in store.all()]


def test_store_without_checkpoints_has_no_latest(store: CheckpointStore) -> None:
    assert store.latest() is None


def test_staged_checkpoint_is_invisible_until_it_is_committed(store: CheckpointStore) -> None:
    stage(store, 5)
    assert steps(store) == []
    store.commit(5)
    assert steps(store) == [5]


def test_latest_checkpoints_are_kept_in_numerical_order(store: CheckpointStore) -> None:
    for step in (8, 9, 10):
        stage(store, step)
        store.commit(step)
    assert steps(store) == [9, 10]
    latest = store.latest()
    assert latest is not None
    assert latest.step == 10


def test_complete_checkpoint_is_never_replaced(store: CheckpointStore) -> None:
    stage(store, 5)
    store.commit(5)
    (first,) = store.all()
    before = (first.path / "optimizer.pt").stat().st_ino
    stage(store, 5)
    store.commit(5)
    assert steps(store) == [5]
    assert (first.path / "optimizer.pt").stat().st_ino == before
    assert not store.staging.exists()


def test_store_that_was_killed_before_it_deleted_is_tidied(store: CheckpointStore) -> None:
    for step in (1, 2, 3):
        stage(store, step)
        (store.staging / f"checkpoint-{step}").rename(store.staging.parent / f"checkpoint-{step}")
    stage(store, 4)
    store.tidy()
    assert steps(store) == [2, 3]
    assert not store.staging.exists()


def test_discarded_checkpoint_leaves_the_others(store: CheckpointStore) -> None:
    stage(store, 5)
    store.commit(5)
    stage(store, 6)
    store.discard_staged()
    assert not store.staging.exists()
    assert steps(store) == [5]


def test_checkpoint_holds_the_policy_that_samples(store: CheckpointStore, tmp_path: Path) -> None:
    policy = tmp_path / "policies" / "step-4"
    policy.mkdir(parents=True)
    (policy / "adapter_config.json").touch()
    stage(store, 5)
    store.stage_sampler(5, policy)
    store.commit(5)
    (checkpoint,) = store.all()
    assert checkpoint.sampler is not None
    assert (checkpoint.sampler / "adapter_config.json").is_file()
    assert checkpoint.first_published == 4


def test_checkpoint_without_a_sampler_publishes_its_own_policy_first(store: CheckpointStore) -> None:
    stage(store, 5)
    store.commit(5)
    (checkpoint,) = store.all()
    assert checkpoint.sampler is None
    assert checkpoint.first_published == 5

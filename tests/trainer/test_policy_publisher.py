"""Policies are written when they are due, and published unless they are the model as loaded."""

from collections.abc import Callable
from pathlib import Path

import pytest
from deepmath_trainer.policy_publisher import PolicyPublisher, PolicyWriter

from deepmath.errors import Unavailable


@pytest.fixture
def publisher(tmp_path: Path) -> Callable[..., PolicyPublisher]:
    def make(every: int = 1, is_main_process: bool = True) -> PolicyPublisher:
        writer = PolicyWriter(lambda folder: folder.mkdir(parents=True), lambda: None, is_main_process)
        return PolicyPublisher(tmp_path / "policies", every, writer)

    return make


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "policies").iterdir())


def test_policy_is_written_every_so_many_steps(publisher) -> None:
    policies = publisher(every=2)
    published = [policies.next(step) for step in range(5)]
    assert [folder.name if folder else None for folder in published] == [None, None, "step-2", None, "step-4"]
    assert policies.current.name == "step-4"


def test_last_policy_is_always_published(publisher) -> None:
    """The evaluation after training is of it."""
    policies = publisher(every=4)
    published = [policies.next(step) for step in range(6)]
    assert published[5] is None
    assert policies.next(5, last=True) == policies.current
    assert policies.current.name == "step-5"
    assert policies.next(5, last=True) is None


def test_untrained_policy_is_not_sent(publisher) -> None:
    policies = publisher()
    assert policies.next(0) is None
    assert policies.next(1) is not None


def test_two_policies_published_last_are_kept(publisher, tmp_path) -> None:
    policies = publisher()
    for step in (8, 9, 10):
        policies.next(step)
        assert policies.current.is_dir()
    assert written(tmp_path) == ["step-10", "step-9"]


def test_only_the_main_process_deletes_policies(publisher, tmp_path) -> None:
    policies = publisher(is_main_process=False)
    for step in range(3):
        policies.next(step)
    assert len(written(tmp_path)) == 3


def test_restored_sampler_is_the_policy_published_last(publisher, tmp_path) -> None:
    sampler = tmp_path / "checkpoint-5" / "sampler" / "step-4"
    sampler.mkdir(parents=True)
    (sampler / "adapter_config.json").touch()
    policies = publisher(every=2)
    assert policies.restore(sampler) == policies.current
    assert (policies.current / "adapter_config.json").is_file()
    assert policies.next(5) is None
    assert policies.next(6) is not None


def test_policy_that_cannot_be_written_is_reported_with_its_step(tmp_path) -> None:
    def write(_: Path) -> None:
        raise OSError(28, "No space left on device")

    policies = PolicyPublisher(tmp_path, 1, PolicyWriter(write, lambda: None, True))
    with pytest.raises(Unavailable, match=r"the policy of step 3 could not be written: .*No space left"):
        policies.next(3)

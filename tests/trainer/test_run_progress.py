"""The status of a run: what ends it is shown last, and by the process that ended first."""

import errno
from pathlib import Path

import pytest
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.run_progress import RunProgress
from deepmath_trainer.training_worker import _record_failure
from deepmath_trainer.write_failure import explain_full_disk

from deepmath.errors import Unavailable


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def status(folder: RunFolder) -> tuple[str, str]:
    state = folder.read_state()
    return state.status, state.waiting_for


def test_run_that_waits_while_its_training_starts_still_waits(folder) -> None:
    progress = RunProgress(folder, 0)
    progress.wait_for("no generator")
    progress.enter("running")
    assert status(folder) == ("waiting", "no generator")
    progress.wait_for("")
    assert status(folder) == ("running", "")


@pytest.mark.parametrize("end", ["done", "stopped"])
def test_run_that_has_ended_does_not_wait(folder, end: str) -> None:
    """A batch that is still being sampled may lose its generator until it is cancelled."""
    progress = RunProgress(folder, 0)
    progress.wait_for("no generator")
    progress.enter(end)
    progress.wait_for("no generator, again")
    progress.wait_for("")
    assert status(folder) == (end, "")


def test_of_several_processes_the_first_one_that_fails_says_why(folder, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    folder.write_state(status="running")
    _record_failure(folder, "lora.rank is 64", misconfigured=True)
    _record_failure(folder, "RuntimeError: Connection closed by peer")
    state = folder.read_state()
    assert (state.status, state.error, state.misconfigured) == ("failed", "lora.rank is 64", True)


def test_single_process_says_why_it_fails_now(folder) -> None:
    folder.write_state(status="failed", error="before")
    _record_failure(folder, "now")
    assert folder.read_state().error == "now"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_is_reported_with_what_to_do(number: int) -> None:
    with (
        pytest.raises(Unavailable, match=r"could not be written: .*metrics\.jsonl.*make room and resume"),
        explain_full_disk(),
    ):
        raise OSError(number, "full", "metrics.jsonl")
    with pytest.raises(PermissionError), explain_full_disk():
        raise PermissionError(errno.EACCES, "denied")

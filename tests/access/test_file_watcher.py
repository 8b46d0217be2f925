"""Files replaced while a service runs."""

import logging
import os
from pathlib import Path

import pytest

from deepmath.access import file_watcher
from deepmath.access.tokens import watch_token


@pytest.fixture(autouse=True)
def _poll_at_each_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_watcher, "_POLL_SECONDS", 0.0)


def test_rejected_file_is_retried_even_if_its_stamp_does_not_change(tmp_path: Path, caplog):
    """A new owner or mode changes neither time nor size. The new text here has the same time and size."""
    file = tmp_path / "token"
    file.write_text("the-first")
    watcher = watch_token(file)
    file.write_text("the second")
    state = file.stat()
    assert [watcher.value, watcher.value] == ["the-first"] * 2
    file.write_text("the-second")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert watcher.value == "the-second"
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


def test_new_reason_for_a_rejection_is_logged_again(tmp_path: Path, caplog):
    file = tmp_path / "token"
    file.write_text("the-first")
    watcher = watch_token(file)
    file.write_text("the second")
    assert watcher.value == "the-first"
    file.unlink()
    assert watcher.value == "the-first"
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 2

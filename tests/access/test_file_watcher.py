"""Files replaced while a service runs."""

import logging
import os
import time
from pathlib import Path

from deepmath.access.file_watcher import FileWatcher
from deepmath.access.tokens import watch_token

_POLL_SECONDS = 1.1


def value_after_poll(watcher: FileWatcher[str]) -> str:
    time.sleep(_POLL_SECONDS)
    return watcher.value


def test_rejected_file_is_retried_even_if_its_stamp_does_not_change(tmp_path: Path, caplog):
    """A new owner or mode changes neither time nor size. The new text here has the same time and size."""
    file = tmp_path / "token"
    file.write_text("the-first")
    watcher = watch_token(file)
    file.write_text("the second")
    state = file.stat()
    assert [value_after_poll(watcher), value_after_poll(watcher)] == ["the-first"] * 2
    file.write_text("the-second")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert value_after_poll(watcher) == "the-second"
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


def test_new_reason_for_a_rejection_is_logged_again(tmp_path: Path, caplog):
    file = tmp_path / "token"
    file.write_text("the-first")
    watcher = watch_token(file)
    file.write_text("the second")
    assert value_after_poll(watcher) == "the-first"
    file.unlink()
    assert value_after_poll(watcher) == "the-first"
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 2

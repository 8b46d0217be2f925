"""Files that somebody replaces while a service runs."""

import logging
import os
import time
from pathlib import Path

from deepmath.access.file_watcher import FileWatcher
from deepmath.access.tokens import watch_token

_LOOK_SECONDS = 1.1


def changed(watched: FileWatcher[str]) -> str:
    time.sleep(_LOOK_SECONDS)
    return watched.value


def test_file_that_was_refused_is_read_as_soon_as_it_can_be_though_nothing_shows_a_change(tmp_path: Path, caplog):
    """A new owner or mode shows neither in time nor in size. Here the text has changed, which shows in neither too."""
    file = tmp_path / "token"
    file.write_text("the-first")
    watched = watch_token(file)
    file.write_text("the second")
    state = file.stat()
    assert [changed(watched), changed(watched)] == ["the-first"] * 2
    file.write_text("the-second")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert changed(watched) == "the-second"
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


def test_file_that_is_refused_again_for_another_reason_is_warned_of_again(tmp_path: Path, caplog):
    file = tmp_path / "token"
    file.write_text("the-first")
    watched = watch_token(file)
    file.write_text("the second")
    assert changed(watched) == "the-first"
    file.unlink()
    assert changed(watched) == "the-first"
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 2

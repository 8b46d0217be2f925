"""Temporary folders whose owners are killed go with the next one; those of living owners stay."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from deepmath import owned_folders
from deepmath.owned_folders import OwnedFolder

OWNER = """
import os
from deepmath.owned_folders import OwnedFolder
folder = OwnedFolder("kind")
if not (fork := os.fork()):
    raise SystemExit  # with the cleanup of a copy of the folder's object
os.waitpid(fork, 0)
print(folder.path, flush=True)
input()
"""


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(owned_folders, "_MOST_SECONDS_UNLOCKED", -1.0)
    return tmp_path


def owner(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that owns a folder with a file in it."""
    command = [sys.executable, "-c", OWNER]
    process = subprocess.Popen(
        command, env=os.environ | {"TMPDIR": str(folder)}, stdin=-1, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    path = Path(process.stdout.readline().strip())
    (path / "file").touch()
    return process, path


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_folder_is_private_and_goes_with_its_block(temporary_folder: Path) -> None:
    with OwnedFolder("kind") as folder:
        (folder.path / "file").touch()
        assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.remove()
    assert list(temporary_folder.iterdir()) == []


def test_folder_goes_with_its_process_or_its_object_and_not_with_a_fork(temporary_folder: Path) -> None:
    process, path = owner(temporary_folder)
    assert path.exists()
    process.communicate("\n")
    assert not path.exists()
    folder = OwnedFolder("kind")
    assert folder.path.exists()
    del folder
    assert list(temporary_folder.iterdir()) == []


def test_folder_of_a_killed_owner_goes_with_the_next_folder_and_that_of_a_living_one_stays(
    temporary_folder: Path,
) -> None:
    (killed, orphaned), (living, owned) = owner(temporary_folder), owner(temporary_folder)
    try:
        end(killed)
        assert orphaned.exists()
        with OwnedFolder("kind"):
            assert not orphaned.exists()
            assert (owned / "file").exists()
    finally:
        end(living)


def test_folder_that_its_owner_has_not_locked_yet_stays(
    temporary_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owned_folders, "_MOST_SECONDS_UNLOCKED", 60.0)
    process, path = owner(temporary_folder)
    end(process)
    with OwnedFolder("kind"):
        assert path.exists()


def test_link_and_file_of_such_a_name_stay(temporary_folder: Path) -> None:
    other = temporary_folder / "other"
    other.mkdir()
    (temporary_folder / "kind-link.owned").symlink_to(other)
    (temporary_folder / "kind-file.owned").touch()
    with OwnedFolder("kind"):
        assert other.exists()
    assert {path.name for path in temporary_folder.iterdir()} == {"other", "kind-link.owned", "kind-file.owned"}


def test_file_system_without_locks_has_folders_that_nobody_sweeps(
    temporary_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))  # as NFS does: its locks need a file open for writing

    monkeypatch.setattr(fcntl, "flock", flock)
    with OwnedFolder("kind") as first, OwnedFolder("kind"):
        assert first.path.exists()
    assert list(temporary_folder.iterdir()) == []

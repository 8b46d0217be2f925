"""Private temporary folders that a killed process does not leave behind for good.

Each is locked (flock(2)) as long as its process lives. Whoever creates one of the same kind removes those without a
lock, since their owners are dead. Locks work between containers that share the folder, where process ids do not. On a
file system without them, such as NFS for folders, what a killed process leaves behind stays.
"""

import fcntl
import os
import shutil
import tempfile
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Self

_SUFFIX = ".owned"
_MOST_SECONDS_UNLOCKED = 60.0  # between the creation of a folder and its lock


class OwnedFolder:
    """A new folder for this user only, at `path`. A context manager that removes it; otherwise it goes with its object.

    Args:
        kind: First part of its name.

    Raises:
        OSError: The temporary folder is full, or missing.
    """

    def __init__(self, kind: str) -> None:
        _sweep(kind)
        self.path = Path(tempfile.mkdtemp(prefix=f"{kind}-", suffix=_SUFFIX))
        lock = _open(self.path)
        with suppress(OSError):  # without locks nobody can take it for orphaned, since that takes one
            fcntl.flock(lock, fcntl.LOCK_EX)
        self._remove = weakref.finalize(self, _remove, self.path, lock, os.getpid())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove the folder and everything in it. Idempotent."""
        self._remove()


def _remove(path: Path, lock: int, owner: int) -> None:
    if os.getpid() == owner:  # not a fork
        shutil.rmtree(path, ignore_errors=True)
    os.close(lock)


def _sweep(kind: str) -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{kind}-*{_SUFFIX}"):
        try:
            lock = _open(path)
        except OSError:  # removed by now, or another user's
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            status = os.fstat(lock)
            if status.st_uid == os.geteuid() and time.time() - status.st_ctime > _MOST_SECONDS_UNLOCKED:
                shutil.rmtree(path, ignore_errors=True)
        except OSError:  # its owner lives
            pass
        finally:
            os.close(lock)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

"""Files with secrets: written atomically, and never readable by others on the way."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

OWNER_ONLY = 0o600


@contextlib.contextmanager
def staged_file(path: Path, data: bytes, mode: int = OWNER_ONLY) -> Iterator[None]:
    """Write `data` beside `path` and move it there at the end of the block; an exception in the block discards it.

    The file never exists with a wider mode than `mode`.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
        yield
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def replace_file(path: Path, data: bytes, mode: int = OWNER_ONLY) -> None:
    """Write a file as `staged_file` does."""
    with staged_file(path, data, mode):
        pass


def close_to_others(descriptor: int) -> bool:
    """Take a regular file's permissions from everybody but its owner; return whether they had any.

    Anything else, such as a pipe or a terminal, is left alone.

    Raises:
        OSError: It is another user's file.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or not status.st_mode & 0o077:
        return False
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & 0o700)
    return True

"""Replacement of a folder by another in one atomic step, so that readers find the old files or the new ones."""

import ctypes
import os
import shutil
from collections.abc import Container
from pathlib import Path

from deepmath.errors import InvalidRequest

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def check_replaceable(folder: Path, names: Container[str]) -> None:
    """Check that a replacement of the folder loses nothing but files with these names.

    Raises:
        InvalidRequest: it contains other files.
    """
    others = sorted(path.name for path in folder.iterdir() if path.name not in names) if folder.exists() else []
    if others:
        raise InvalidRequest(f"{folder} has files of something else ({others[0]}); choose an empty folder as --output")


def replace_folder(folder: Path, source: Path) -> None:
    """Put a copy of `source` in the place of `folder`.

    Raises:
        OSError: the file system cannot do it; the folder is unchanged.
    """
    copy = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(copy, ignore_errors=True)  # of a killed process
    shutil.copytree(source, copy)
    if folder.exists():
        _exchange(copy, folder)
        shutil.rmtree(copy)
    else:
        copy.rename(folder)


def _exchange(one: Path, other: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one), None, str(other))

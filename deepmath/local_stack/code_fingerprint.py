"""Fingerprint of the code on this machine: a running stack has the code with which it was started."""

import hashlib
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from deepmath import __version__

_PACKAGES = ("deepmath", "deepmath_executor", "deepmath_generator", "deepmath_gateway")


def code_fingerprint() -> str:
    """Return a digest of the version and of place, size and time of the Python files that a stack may import."""
    digest = hashlib.sha256(__version__.encode())
    for name in _PACKAGES:
        spec = find_spec(name)
        for folder in (spec and spec.submodule_search_locations) or ():
            for line in _files(folder):
                digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def files_fingerprint(*folders: str) -> str:
    """Return a digest of name, size and time of the files in `folders`: those of a model and of an adapter."""
    digest = hashlib.sha256()
    for folder in filter(os.path.isdir, folders):
        for path in sorted(Path(folder).iterdir()):
            if path.is_file():
                digest.update(_line(str(path), path.stat()).encode(errors="surrogateescape"))
    return digest.hexdigest()


def _files(folder: str) -> Iterator[str]:
    """Yield a line for each Python file."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                yield from () if entry.name == "__pycache__" else _files(entry.path)
            elif entry.name.endswith(".py"):
                yield _line(entry.path, entry.stat())


def _line(path: str, status: os.stat_result) -> str:
    return f"{path} {status.st_size} {status.st_mtime_ns}\n"

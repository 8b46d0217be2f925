"""Temporary folders that every user may enter."""

import tempfile
from pathlib import Path


def open_to_everyone(folder: Path, mode: int = 0o755) -> None:
    """Give `mode` to `folder`, below pytest's temporary folder, and to the folders above it."""
    top = Path(tempfile.gettempdir())
    for each in (folder, *folder.parents):
        if each == top:
            return
        each.chmod(mode)

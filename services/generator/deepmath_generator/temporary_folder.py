"""A folder for the temporary files of this process and of vLLM's, which leave sockets and locks behind."""

import getpass
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from deepmath.errors import Unavailable
from deepmath.owned_folders import OwnedFolder

_MOST_FOLDER_BYTES = 107 - len("/") - 36  # of a folder for vLLM's sockets, whose names are UUIDs: unix(7)


@contextmanager
def private_temporary_folder() -> Iterator[None]:
    """Use a new folder in that of the system for temporary files, and remove it after the block.

    torch's compilation cache stays where it is, for the next start; vLLM's sockets do if their paths would be too
    long in the new folder. Call it before importing vLLM.

    Raises:
        Unavailable: The folder cannot be created.
    """
    try:
        folder = OwnedFolder("deepmath-generator")
    except OSError as error:
        raise Unavailable(f"cannot create a temporary folder: {error}; set TMPDIR to a writable one") from error
    before = tempfile.gettempdir()
    with folder:
        # As torch's default (torch/_inductor/runtime/cache_dir_utils.py).
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", f"{before}/torchinductor_{_user()}")
        if len(os.fsencode(folder.path)) > _MOST_FOLDER_BYTES:
            os.environ.setdefault("VLLM_RPC_BASE_PATH", before)
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder.path)
        try:
            yield
        finally:
            os.environ["TMPDIR"] = tempfile.tempdir = before


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in a container
        return str(os.getuid())

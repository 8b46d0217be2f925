"""The private folder in which a user's detached stack keeps its lock, its record and its logs."""

import fcntl
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from deepmath.errors import InvalidRequest
from deepmath.user_files import user_path

STATE_VARIABLE = "DEEPMATH_STATE"
_RUNTIME_VARIABLE = "XDG_RUNTIME_DIR"  # XDG Base Directory Specification: private, and gone after a restart
_LOCK, _RECORD, _LOGS = "lock", "stack.json", "logs"
_MAX_RECORD_BYTES = 1 << 20


class StateFolder:
    """DEEPMATH_STATE, by default $XDG_RUNTIME_DIR/deepmath, or deepmath-UID in the temporary folder.

    Whoever can write there decides where commands send their code, so a folder is used only if it belongs to this user
    and nobody else has access.
    """

    def __init__(self) -> None:
        self.path = _default_path()

    @property
    def logs(self) -> Path:
        """The folder of the logs."""
        return self.path / _LOGS

    def create(self) -> None:
        """Create the folders where they are missing.

        Raises:
            InvalidRequest: The folder cannot be created, or is not private.
        """
        try:
            for folder in (self.path, self.logs):
                with suppress(FileExistsError):
                    folder.mkdir(mode=0o700)
                _check_private(folder)
        except OSError as error:
            raise InvalidRequest(f"cannot create {error.filename}: {error.strerror}; set {STATE_VARIABLE}") from None

    def check(self) -> bool:
        """Return whether the folder exists.

        Raises:
            InvalidRequest: It is not a private folder of this user.
        """
        try:
            _check_private(self.path)
        except OSError:
            return False
        return True

    def lock(self) -> int | None:
        """Return a descriptor that locks the folder while it, or a copy that a child inherits, is open.

        None if the folder is locked.

        Raises:
            InvalidRequest: The lock is not a file of this user.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = _open(self.path / _LOCK, flags)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def read_record(self) -> bytes | None:
        """Return the record; None if there is none.

        Raises:
            InvalidRequest: The folder is not private, or the record is not a file of this user.
        """
        if not self.check():
            return None
        try:
            descriptor = _open(self.path / _RECORD, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with open(descriptor, "rb") as file:
            return file.read(_MAX_RECORD_BYTES)

    def write_record(self, content: bytes) -> None:
        """Replace the record at once. Only the holder of the lock may."""
        new = self.path / f"{_RECORD}.new"
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
        new.replace(self.path / _RECORD)

    def remove_record(self) -> None:
        """Remove the record. Only the holder of the lock may."""
        (self.path / _RECORD).unlink(missing_ok=True)


def _check_private(folder: Path) -> None:
    """Check that `folder` is one of this user, without access for others.

    Raises:
        InvalidRequest: It is not.
        OSError: It does not exist.
    """
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise InvalidRequest(
            f"{folder} is not trusted: it must be a folder of this user with mode 0700; correct or remove it, "
            f"or set {STATE_VARIABLE} to another folder"
        )


def _open(path: Path, flags: int) -> int:
    """Return a descriptor of a file that only this user can write.

    Raises:
        FileNotFoundError: It does not exist.
        InvalidRequest: It is not such a file.
    """
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InvalidRequest(f"cannot open {path}: {error.strerror}; remove it") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        os.close(descriptor)
        raise InvalidRequest(f"{path} is not trusted: it must be a file that only this user can write; remove it")
    return descriptor


def _default_path() -> Path:
    if named := os.environ.get(STATE_VARIABLE):
        return user_path(named).absolute()
    if runtime := os.environ.get(_RUNTIME_VARIABLE):
        with suppress(OSError):
            if Path(runtime).stat().st_uid == os.geteuid():  # `sudo` and `su` keep another user's
                return Path(runtime, "deepmath")
    return Path(tempfile.gettempdir(), f"deepmath-{os.geteuid()}")

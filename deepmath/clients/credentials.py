"""What a client proves itself with: a folder for TLS and a file with its token, by default those of the environment."""

import os
from pathlib import Path
from typing import NamedTuple, Self

from deepmath.access.file_watcher import FileWatcher
from deepmath.access.tls import TlsFiles, watch_tls_files
from deepmath.access.tokens import watch_token
from deepmath.errors import InvalidRequest
from deepmath.rpc.addresses import is_unix, stays_here

TLS, TOKEN_FILE = "DEEPMATH_TLS", "DEEPMATH_TOKEN_FILE"


class Credentials(NamedTuple):
    """What goes with calls, each as it is now; None for what there is none of."""

    folder: Path | None
    tls: FileWatcher[TlsFiles] | None
    token: FileWatcher[str] | None

    @classmethod
    def to(cls, target: str, tls: Path | None = None, token_file: Path | None = None) -> Self:
        """Return what calls to `target` go with. On a unix socket no TLS is spoken.

        Raises:
            InvalidRequest: a file cannot be used, or the token would leave this machine in the clear.
        """
        folder, file = tls_folder(target, tls), token_file or _path(TOKEN_FILE)
        if file and not folder and not stays_here(target):
            raise InvalidRequest(f"the token would go to {target} in the clear; set {TLS} to a folder for TLS")
        return cls(folder, watch_tls_files(folder) if folder else None, watch_token(file) if file else None)


def tls_folder(target: str, tls: Path | None = None) -> Path | None:
    """Return the folder for TLS with `target`: `tls`, or else that of the environment; None where none is spoken."""
    return None if is_unix(target) else tls or _path(TLS)


def set_credentials(tls: Path | None, token_file: Path | None) -> None:
    """Make these the default of this process and of those that it starts; None leaves what is there."""
    for name, path in ((TLS, tls), (TOKEN_FILE, token_file)):
        if path:
            os.environ[name] = str(path.absolute())


def service_options() -> list[str]:
    """Return the options by which a service that is started here has what this process proves itself with."""
    options = [("--tls", _path(TLS)), ("--token-file", _path(TOKEN_FILE))]
    return [part for name, path in options if path for part in (name, str(path))]


def _path(name: str) -> Path | None:
    return Path(value) if (value := os.environ.get(name)) else None

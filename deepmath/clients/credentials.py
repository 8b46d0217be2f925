"""Client credentials: a TLS folder and a token file, by default those that the environment names."""

import os
from pathlib import Path
from typing import NamedTuple, Self

from deepmath.access.file_watcher import FileWatcher
from deepmath.access.tls import TlsFiles, watch_tls_files
from deepmath.access.tokens import watch_token
from deepmath.errors import InvalidRequest
from deepmath.rpc.addresses import is_local, is_unix_socket
from deepmath.user_files import user_path

TLS_VARIABLE, TOKEN_FILE_VARIABLE = "DEEPMATH_TLS", "DEEPMATH_TOKEN_FILE"


class Credentials(NamedTuple):
    """The credentials for one target; None for those that it does not use."""

    tls_folder: Path | None
    tls_files: FileWatcher[TlsFiles] | None
    token: FileWatcher[str] | None

    @classmethod
    def load(cls, target: str, tls: Path | None = None, token_file: Path | None = None) -> Self:
        """Return the credentials for calls to `target`. A unix socket is used without TLS.

        Raises:
            InvalidRequest: A file is unusable, or the token would leave this machine unencrypted.
        """
        folder = None if is_unix_socket(target) else tls or _path_in(TLS_VARIABLE)
        file = token_file or _path_in(TOKEN_FILE_VARIABLE)
        if file and not folder and not is_local(target):
            raise InvalidRequest(f"refusing to send the token to {target} in the clear; set {TLS_VARIABLE}")
        return cls(folder, watch_tls_files(folder) if folder else None, watch_token(file) if file else None)


def set_default_credentials(tls: Path | None, token_file: Path | None) -> None:
    """Make these the defaults of this process and its children; None leaves a default unchanged."""
    for name, path in ((TLS_VARIABLE, tls), (TOKEN_FILE_VARIABLE, token_file)):
        if path:
            os.environ[name] = str(path.absolute())


def service_options() -> list[str]:
    """Return command-line options that give a service started by this process its default credentials."""
    options = [("--tls", _path_in(TLS_VARIABLE)), ("--token-file", _path_in(TOKEN_FILE_VARIABLE))]
    return [part for name, path in options if path for part in (name, str(path))]


def _path_in(variable: str) -> Path | None:
    return user_path(value) if (value := os.environ.get(variable)) else None

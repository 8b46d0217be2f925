"""Mutual TLS from a folder with `tls.crt`, `tls.key` and `ca.crt`, the names that cert-manager writes."""

import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import grpc

from deepmath.access.file_watcher import FileWatcher
from deepmath.errors import InvalidRequest

CERTIFICATE, KEY, AUTHORITY = FILES = ("tls.crt", "tls.key", "ca.crt")
_HOLD_SECONDS = 0.25


class TlsFiles(NamedTuple):
    """A certificate with its key, and the authority that the other side's certificate has to be from; all as PEM."""

    certificate: bytes
    key: bytes
    authority: bytes


def read_tls_files(folder: Path) -> TlsFiles:
    """Return the files of `folder`.

    Raises:
        InvalidRequest: one cannot be read or is no PEM, or key and certificate do not belong together.
    """
    files = TlsFiles(*(_read(folder, name) for name in FILES))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:  # an encrypted key is refused: without a password at hand it would be asked for on the terminal
        context.load_cert_chain(folder / CERTIFICATE, folder / KEY, password="")
    except (ssl.SSLError, OSError) as error:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            raise InvalidRequest(f"{folder}: {KEY} is not the key of {CERTIFICATE}; replace both") from None
        raise InvalidRequest(f"{folder}: {CERTIFICATE} and {KEY} are no certificate and key in PEM") from None
    try:
        context.load_verify_locations(cadata=files.authority.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError):
        raise InvalidRequest(f"{folder}: {AUTHORITY} is no certificate in PEM") from None
    return files


def watch_tls_files(folder: Path) -> FileWatcher[TlsFiles]:
    """Return the files of `folder`, as they change.

    Raises:
        InvalidRequest: they cannot be used.
    """
    return FileWatcher([folder / name for name in FILES], lambda: read_tls_files(folder))


def server_credentials(folder: Path) -> grpc.ServerCredentials:
    """Return credentials that ask every client for a certificate, and take up files that change for new connections.

    Raises:
        InvalidRequest: the files of `folder` cannot be used.
    """
    watched = watch_tls_files(folder)
    served = watched.value

    def change() -> grpc.ServerCertificateConfiguration | None:
        """Return what new connections get from now on, None for what they got before. gRPC asks at each, one by one."""
        nonlocal served
        if watched.value is served:
            return None
        # gRPC ends the process when it drops a configuration that a connection in its next line of code begins to use.
        # Those that had theirs before we were asked are past that by then; those after wait for our answer.
        time.sleep(_HOLD_SECONDS)
        served = watched.value
        return _configuration(served)

    fetch = cast(Callable[[], grpc.ServerCertificateConfiguration], change)  # its stub does not know of None
    return grpc.dynamic_ssl_server_credentials(_configuration(served), fetch, require_client_authentication=True)


def _configuration(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(files.key, files.certificate)], files.authority)


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """Return a client's credentials."""
    return grpc.ssl_channel_credentials(files.authority, files.key, files.certificate)


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise InvalidRequest(
            f"{folder / name}: {error.strerror}; a folder for TLS has {CERTIFICATE}, {KEY} and {AUTHORITY} "
            "(`deepmath certs` makes such folders)"
        ) from None

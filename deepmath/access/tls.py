"""Mutual TLS from a folder with `tls.crt`, `tls.key` and `ca.crt`, the file names that cert-manager uses."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import grpc

from deepmath.access.file_watcher import FileWatcher
from deepmath.errors import InvalidRequest
from deepmath.rpc.grpc_patches.certificate_reload import wait_for_pending_handshakes

CERTIFICATE, KEY, CA_CERTIFICATE = FILES = ("tls.crt", "tls.key", "ca.crt")


class TlsFiles(NamedTuple):
    """A certificate, its key, and the CA certificate that verifies the peer, all as PEM."""

    certificate: bytes
    key: bytes
    ca_certificate: bytes


def read_tls_files(folder: Path) -> TlsFiles:
    """Return the files of `folder`.

    Raises:
        InvalidRequest: A file is unreadable or not PEM, or the key does not match the certificate.
    """
    files = TlsFiles(*(_read(folder, name) for name in FILES))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:  # an encrypted key is rejected: without a password here, OpenSSL would prompt for one on the terminal
        context.load_cert_chain(folder / CERTIFICATE, folder / KEY, password="")
    except (ssl.SSLError, OSError) as error:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            raise InvalidRequest(f"{folder}: {KEY} is not the key of {CERTIFICATE}; replace both") from None
        raise InvalidRequest(f"{folder}: {CERTIFICATE} and {KEY} are not a certificate and a key in PEM") from None
    try:
        context.load_verify_locations(cadata=files.ca_certificate.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError):
        raise InvalidRequest(f"{folder}: {CA_CERTIFICATE} is not a certificate in PEM") from None
    return files


def watch_tls_files(folder: Path) -> FileWatcher[TlsFiles]:
    """Return a watcher of the files of `folder`.

    Raises:
        InvalidRequest: They are unusable.
    """
    return FileWatcher([folder / name for name in FILES], lambda: read_tls_files(folder))


def server_credentials(watcher: FileWatcher[TlsFiles]) -> grpc.ServerCredentials:
    """Return credentials that require a client certificate, and use changed files for new connections."""
    current = watcher.value

    def fetch_change() -> grpc.ServerCertificateConfiguration | None:
        """Return the configuration for new connections, None if unchanged. gRPC calls this once per connection."""
        nonlocal current
        if watcher.value is current:
            return None
        wait_for_pending_handshakes()
        current = watcher.value
        return _configuration(current)

    fetcher = cast(Callable[[], grpc.ServerCertificateConfiguration], fetch_change)  # the stub does not allow None
    return grpc.dynamic_ssl_server_credentials(_configuration(current), fetcher, require_client_authentication=True)


def _configuration(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(files.key, files.certificate)], files.ca_certificate)


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """Return the credentials of a client."""
    return grpc.ssl_channel_credentials(files.ca_certificate, files.key, files.certificate)


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise InvalidRequest(
            f"{folder / name}: {error.strerror}; a TLS folder has {CERTIFICATE}, {KEY} and {CA_CERTIFICATE} "
            "(`deepmath certs` creates such folders)"
        ) from None

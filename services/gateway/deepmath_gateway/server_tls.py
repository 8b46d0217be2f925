"""TLS context of the HTTP server, which uses changed files for new connections."""

import ssl
from pathlib import Path

from deepmath.access.file_watcher import FileWatcher
from deepmath.access.tls import CA_CERTIFICATE, CERTIFICATE, FILES, KEY, read_tls_files


def server_context(folder: Path, *, require_certificate: bool) -> ssl.SSLContext:
    """Return a context with the files of a TLS folder. Clients need a certificate of its CA if it is required.

    Raises:
        InvalidRequest: The files are unusable.
    """

    def read() -> ssl.SSLContext:
        read_tls_files(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(folder / CERTIFICATE, folder / KEY)
        if require_certificate:
            context.load_verify_locations(folder / CA_CERTIFICATE)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    watcher = FileWatcher([folder / name for name in FILES], read)
    context = watcher.value

    def use_current(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = watcher.value

    context.sni_callback = use_current  # called for each connection, with a server name or without
    return context

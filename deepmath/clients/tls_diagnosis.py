"""Finds out why a TLS connection fails. gRPC reports little more than a closed socket."""

import re
import socket
import ssl
from pathlib import Path

from deepmath.access.tls import CA_CERTIFICATE, CERTIFICATE, KEY
from deepmath.rpc.addresses import is_unix_socket

_TIMEOUT_SECONDS = 2.0
_HTTP2 = "h2"
_ALERT = "_ALERT_"
_TARGET = re.compile(r"^(?:dns:(?://[^/]*/)?|ipv[46]:)?(?P<host>\[[^]]*\]|[^:,/]+):(?P<port>[0-9]+)(?:,|$)")
_MAX_FLIGHTS = 3  # of handshake messages in each direction


def diagnose_tls(target: str, folder: Path | None, authority: str = "") -> str:
    """Connect to the first address of `target` as a client with the TLS files of `folder` does.

    `authority` replaces the address as the name for which the server's certificate has to be valid.

    Return the reason for the failure and the remedy, or an empty string if the connection succeeds or fails for a
    reason other than TLS. Takes a few seconds at most.
    """
    match = _TARGET.match(target)
    if is_unix_socket(target) or not match:
        return ""
    host, port = match["host"].strip("[]"), int(match["port"])
    try:
        if not folder:
            return _diagnose_plaintext(host, port)
        name = _TARGET.match(authority)
        return _diagnose_certificates(host, port, folder, name["host"].strip("[]") if name else host)
    except OSError:  # nothing listens there, or nothing answers: gRPC's own error says so
        return ""


def _diagnose_certificates(host: str, port: int, folder: Path, name: str) -> str:
    context = _client_context(folder)
    context.load_verify_locations(folder / CA_CERTIFICATE)
    context.check_hostname, context.verify_mode = True, ssl.CERT_REQUIRED
    try:
        accepted = _handshake(context, host, port, name)
    except ssl.SSLCertVerificationError as error:
        reason = error.verify_message.rstrip(".")
        return f"the server's certificate was rejected ({reason}); renew it, or check {CA_CERTIFICATE} in {folder}"
    except ssl.SSLError as error:
        if error.reason == "WRONG_VERSION_NUMBER":
            return "the server does not use TLS; unset DEEPMATH_TLS, or start the server with --tls"
        accepted = _ALERT not in (error.reason or "")
    if accepted:
        return ""
    reason = _rejection_by_own_ca(folder) or f"check whether its {CA_CERTIFICATE} is the one in {folder}"
    return f"the server rejected the certificate {folder / CERTIFICATE} ({reason}); renew it"


def _diagnose_plaintext(host: str, port: int) -> str:
    try:
        _handshake(_client_context(None), host, port, host)
    except ssl.SSLError as error:
        if _ALERT not in (error.reason or ""):
            return ""
    return "the server requires TLS; set DEEPMATH_TLS to a folder with tls.crt, tls.key and ca.crt (a service: --tls)"


def _client_context(folder: Path | None) -> ssl.SSLContext:
    """Return a context with the certificate of `folder` that accepts any server certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([_HTTP2])
    if folder:
        context.load_cert_chain(folder / CERTIFICATE, folder / KEY, password="")
    return context


def _handshake(context: ssl.SSLContext, host: str, port: int, name: str) -> bool:
    """Connect, and return whether the server keeps the connection.

    In TLS 1.3 the server verifies the client's certificate after the handshake; gRPC's server then closes the
    connection without an alert.
    """
    with (
        socket.create_connection((host, port), _TIMEOUT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        return bool(secured.recv(1))


def _rejection_by_own_ca(folder: Path) -> str:
    """Return why a server with the CA of `folder` rejects its certificate, by a handshake in memory."""
    strict = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    strict.load_cert_chain(folder / CERTIFICATE, folder / KEY, password="")
    strict.load_verify_locations(folder / CA_CERTIFICATE)
    strict.verify_mode = ssl.CERT_REQUIRED
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = strict.wrap_bio(to_server, to_client, server_side=True)
    client = _client_context(folder).wrap_bio(to_client, to_server)
    for _ in range(_MAX_FLIGHTS):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return ""

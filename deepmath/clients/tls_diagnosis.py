"""Why a connection does not come about. gRPC itself says little more than that it was closed."""

import re
import socket
import ssl
from pathlib import Path

from deepmath.access.tls import AUTHORITY, CERTIFICATE, KEY
from deepmath.rpc.addresses import is_unix

_SECONDS = 2.0
_HTTP2 = "h2"
_ALERT = "_ALERT_"
_TARGET = re.compile(r"^(?:dns:(?://[^/]*/)?|ipv[46]:)?(?P<host>\[[^]]*\]|[^:,/]+):(?P<port>[0-9]+)(?:,|$)")
_MOST_FLIGHTS = 3  # of messages each way in a handshake


def refusal(target: str, folder: Path | None) -> str:
    """Try to connect to the first address of `target` as a client with the TLS files of `folder` does.

    Return what it fails by and what to do; an empty text where it does not fail, or by something else. It takes some
    seconds at most.
    """
    match = _TARGET.match(target)
    if is_unix(target) or not match:
        return ""
    host, port = match["host"].strip("[]"), int(match["port"])
    try:
        return _refusal_of_certificates(host, port, folder) if folder else _refusal_of_plaintext(host, port)
    except OSError:  # nobody there, or nobody who answers: that is what gRPC says too
        return ""


def _refusal_of_certificates(host: str, port: int, folder: Path) -> str:
    context = _client_context(folder)
    context.load_verify_locations(folder / AUTHORITY)
    context.check_hostname, context.verify_mode = True, ssl.CERT_REQUIRED
    try:
        taken = _shake_hands(context, host, port)
    except ssl.SSLCertVerificationError as error:
        reason = error.verify_message.rstrip(".")
        return f"the server's certificate is refused ({reason}); renew it, or see which {AUTHORITY} is in {folder}"
    except ssl.SSLError as error:
        if error.reason == "WRONG_VERSION_NUMBER":
            return "the server speaks no TLS; unset DEEPMATH_TLS, or have it served with --tls"
        taken = _ALERT not in (error.reason or "")
    if taken:
        return ""
    reason = _fault(folder) or f"see whether its {AUTHORITY} is that of {folder}"
    return f"the server refuses the certificate {folder / CERTIFICATE} ({reason}); have it renewed"


def _refusal_of_plaintext(host: str, port: int) -> str:
    try:
        _shake_hands(_client_context(None), host, port)
    except ssl.SSLError as error:
        if _ALERT not in (error.reason or ""):
            return ""
    return "the server speaks TLS; set DEEPMATH_TLS to a folder with tls.crt, tls.key and ca.crt (a service: --tls)"


def _client_context(folder: Path | None) -> ssl.SSLContext:
    """Return a context with the certificate of `folder` that takes any of the other side's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([_HTTP2])
    if folder:
        context.load_cert_chain(folder / CERTIFICATE, folder / KEY, password="")
    return context


def _shake_hands(context: ssl.SSLContext, host: str, port: int) -> bool:
    """Connect, and return whether the server goes on after it.

    In TLS 1.3 it judges the client's certificate after the handshake; gRPC's closes the connection without a word then.
    """
    with (
        socket.create_connection((host, port), _SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        return bool(secured.recv(1))


def _fault(folder: Path) -> str:
    """Return what a server with the same authority has against the certificate of `folder`: we ask one in memory."""
    strict = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    strict.load_cert_chain(folder / CERTIFICATE, folder / KEY, password="")
    strict.load_verify_locations(folder / AUTHORITY)
    strict.verify_mode = ssl.CERT_REQUIRED
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = strict.wrap_bio(there, back, server_side=True)
    client = _client_context(folder).wrap_bio(back, there)
    for _ in range(_MOST_FLIGHTS):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return ""

"""The name that the caller of a call has proven, by a token or a certificate."""

from collections.abc import Iterable, Mapping
from contextvars import ContextVar

_MAX_BYTES = 128
_proven: ContextVar[str] = ContextVar("proven_name", default="")


def proven_name() -> str:
    """Return the name that the caller of the call under way has proven; empty where it has proven none."""
    return _proven.get()


def set_proven_name(name: str) -> None:
    """Tell the rest of the call under way who makes it."""
    _proven.set(name)  # gRPC gives every call a task, and so a context, of its own


def name_in_certificate(auth_context: Mapping[str, Iterable[bytes]]) -> str:
    """Return the common name of a client's certificate, or else its first DNS name; empty where there is none."""
    for field in ("x509_common_name", "peer_dns"):
        for value in auth_context.get(field, ()):
            name = value.decode(errors="replace")
            if name.isascii() and name.isprintable() and len(name) <= _MAX_BYTES:
                return name
    return ""

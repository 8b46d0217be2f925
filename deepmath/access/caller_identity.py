"""The authenticated name of a call's caller, from its token or certificate."""

from collections.abc import Iterable, Mapping
from contextvars import ContextVar

_MAX_BYTES = 128
_proven: ContextVar[str] = ContextVar("proven_name", default="")


def proven_name() -> str:
    """Return the authenticated name of the current call's caller; empty if the caller is anonymous."""
    return _proven.get()


def set_proven_name(name: str) -> None:
    """Set the authenticated name for the rest of the current call."""
    _proven.set(name)  # grpc.aio runs each call in a task, and so a context, of its own


def name_in_certificate(auth_context: Mapping[str, Iterable[bytes]]) -> str:
    """Return the common name of a client certificate, or its first DNS name; empty if it has neither."""
    for field in ("x509_common_name", "peer_dns"):
        for value in auth_context.get(field, ()):
            name = value.decode(errors="replace")
            if name.isascii() and name.isprintable() and len(name) <= _MAX_BYTES:
                return name
    return ""

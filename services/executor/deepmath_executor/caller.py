"""Who calls: what sessions, snippets and rates are counted by."""

from typing import Any, NamedTuple, Self

from deepmath.access.caller_identity import proven_name
from deepmath.rpc.metadata import CLIENT_NAME, check_name


class Caller(NamedTuple):
    """A client by the name that it has proven, wherever it calls from; `host` is empty then.

    One that has proven none is known by the host that it calls from and the name that it gives itself. That name is
    believed: it keeps honest clients of one host apart. Where clients are not honest, give them tokens or certificates.
    """

    host: str
    name: str

    @classmethod
    def of(cls, context: Any) -> Self:
        """Return who made the call of `context`.

        Raises:
            InvalidRequest: the name is too long or not printable.
        """
        if proven := proven_name():
            return cls("", proven)
        name = dict(context.invocation_metadata()).get(CLIENT_NAME, "")
        check_name(name, f"metadata {CLIENT_NAME}")
        return cls(_host(context.peer()), name)

    def __str__(self) -> str:
        return f"{self.name or 'a client'} at {self.host}" if self.host else self.name


def _host(peer: str) -> str:
    """Return a gRPC peer (`ipv4:10.0.0.1:4711`, `ipv6:%5B::1%5D:4711`, `unix:`) without what changes by connection."""
    scheme, _, _ = peer.partition(":")
    return peer.rpartition(":")[0] if scheme in ("ipv4", "ipv6") else scheme

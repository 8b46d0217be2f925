"""Identity of a calling client: the key for per-client sessions, slots and rates."""

from typing import Any, NamedTuple, Self

from deepmath.access.caller_identity import proven_name
from deepmath.rpc.metadata import CLIENT_NAME, check_name


class Caller(NamedTuple):
    """A client, by authenticated name if it has one; `host` is then empty.

    An unauthenticated client is identified by its host and the name it sends. The name is trusted: it only separates
    honest clients on one host. Authenticate clients that may be dishonest, with tokens or certificates.
    """

    host: str
    name: str

    @classmethod
    def of(cls, context: Any) -> Self:
        """Return the caller of the RPC with this servicer `context`.

        Raises:
            InvalidRequest: The client's name is too long or not printable.
        """
        if proven := proven_name():
            return cls("", proven)
        name = dict(context.invocation_metadata()).get(CLIENT_NAME, "")
        check_name(name, f"metadata {CLIENT_NAME}")
        return cls(_host(context.peer()), name)

    def __str__(self) -> str:
        return f"{self.name or 'unnamed client'} at {self.host}" if self.host else self.name


def _host(peer: str) -> str:
    """Return a gRPC peer (`ipv4:10.0.0.1:4711`, `ipv6:%5B::1%5D:4711`, `unix:`) without its port."""
    scheme, _, _ = peer.partition(":")
    return peer.rpartition(":")[0] if scheme in ("ipv4", "ipv6") else scheme

"""The addresses of generator replicas behind a configured address, each for a channel of its own.

An adapter has to reach every replica, and a channel to a name with several addresses would choose one of them for each
call. So each address that a name resolves to is a replica.
"""

import asyncio
import ipaddress
import re
import socket
from dataclasses import dataclass

from deepmath.errors import InvalidRequest, Unavailable

_SCHEME = re.compile(r"^(?:dns:(?://[^/]*/)?|ipv[46]:)")


@dataclass(frozen=True)
class ReplicaAddress:
    """An address to connect to, and the name for which the server's certificate has to be valid: empty for its own."""

    target: str
    authority: str = ""


def is_name(configured: str) -> bool:
    """Whether `configured` is a host name, whose addresses may change."""
    host = _SCHEME.sub("", configured).rpartition(":")[0]
    return not configured.startswith("unix:") and "," not in configured and bool(host) and not _is_ip(host)


async def resolve_replicas(configured: str) -> list[ReplicaAddress]:
    """Return the replicas behind `configured`, in a stable order.

    Only one IP version of a name is used, preferably 4: a replica with an address of each is one replica.

    Raises:
        InvalidRequest: `configured` is not an address.
        Unavailable: the name has no address, or not yet.
    """
    if configured.startswith("unix:"):
        return [ReplicaAddress(configured)]
    bare = _SCHEME.sub("", configured)
    if not is_name(configured):
        first, *more = bare.split(",")
        return [ReplicaAddress(one, first if more else "") for one in (first, *more)]
    host, _, port = bare.rpartition(":")
    if not port.isdecimal():
        raise InvalidRequest(f"generators: {configured!r} is not a valid address; give HOST:PORT or unix:PATH")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise Unavailable(f"the name {host} does not resolve: {reason}") from None
    families = {family for family, *_ in found}
    family = socket.AF_INET if socket.AF_INET in families else socket.AF_INET6
    addresses = sorted({str(address[0]) for kind, *_, address in found if kind == family})
    return [ReplicaAddress(f"[{one}]:{port}" if ":" in one else f"{one}:{port}", bare) for one in addresses]


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True

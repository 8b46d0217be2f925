"""The addresses of generator replicas behind a configured address, each for a channel of its own.

An adapter has to reach every replica, and a channel to a name with several addresses would choose one of them for each
call. So each address that a name resolves to is a replica.
"""

import asyncio
import re
from dataclasses import dataclass

from deepmath.errors import Unavailable
from deepmath.rpc.host_resolution import parse_host_target, resolve

_LIST = re.compile(r"^ipv[46]:")


@dataclass(frozen=True)
class ReplicaAddress:
    """An address to connect to, and the name for which the server's certificate has to be valid: empty for its own."""

    target: str
    authority: str = ""


def is_name(configured: str) -> bool:
    """Whether `configured` is a host name, whose addresses may change."""
    return parse_host_target(configured) is not None


async def resolve_replicas(configured: str) -> list[ReplicaAddress]:
    """Return the replicas behind `configured`, in a stable order.

    Only one IP version of a name is used, preferably 4: a replica with an address of each is one replica.

    Raises:
        Unavailable: the name has no address, or not yet.
    """
    host = parse_host_target(configured)
    if not host:
        first, *more = addresses = _LIST.sub("", configured).split(",")
        return [ReplicaAddress(one, first) for one in addresses] if more else [ReplicaAddress(configured)]
    try:
        found = await asyncio.to_thread(resolve, host)
    except OSError as error:
        raise Unavailable(f"the name {host.host} does not resolve: {error.strerror or error}") from None
    version_4 = [address for address in found if not address.startswith("[")]
    return [ReplicaAddress(address, host.authority) for address in version_4 or found]

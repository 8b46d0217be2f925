"""Resolution of the host name in a target, by the system or by the DNS server that the target names."""

import os
import re
import socket
import urllib.request
from ipaddress import ip_address
from typing import NamedTuple

from deepmath.rpc.addresses import is_unix_socket

_TARGET = re.compile(r"(?:dns:(?://(?P<server>[^/]*)/)?)?(?P<host>[^][:/,]+):(?P<port>[0-9]{1,5})")
_DNS_PORT = 53
_DNS_SECONDS = 5.0
# In the order in which gRPC's C core looks at them (`src/core/handshaker/http_connect/http_proxy_mapper.cc`).
_PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
_NO_PROXY_VARIABLES = ("no_grpc_proxy", "no_proxy")


class HostTarget(NamedTuple):
    """A host name and port. `server` is the IP:PORT of the DNS server to ask, empty for the system's resolver."""

    host: str
    port: int
    server: str = ""

    @property
    def authority(self) -> str:
        """The name for which certificates must be valid, and the port."""
        return f"{self.host}:{self.port}"


def parse_host_target(target: str) -> HostTarget | None:
    """Return the host name in HOST:PORT, dns:///HOST:PORT or dns://SERVER/HOST:PORT; None for any other target.

    IP addresses, lists of them and unix sockets have no name to resolve.
    """
    match = _TARGET.fullmatch(target)
    if not match or is_unix_socket(target) or _is_ip_address(match["host"]):
        return None
    server = match["server"] or ""
    if server and not _is_ip_address(_split(server)[0]):
        return None
    return HostTarget(match["host"], int(match["port"]), server)


def resolve(target: HostTarget) -> tuple[str, ...]:
    """Return the addresses of `target` as IP:PORT, sorted, at least one. Blocks for some seconds at most.

    Raises:
        OSError: The name has no addresses, or the DNS server does not answer.
    """
    found = _ask(target) if target.server else _ask_system(target)
    return tuple(sorted({f"[{ip}]:{target.port}" if ":" in ip else f"{ip}:{target.port}" for ip in found}))


def uses_http_proxy(host: str) -> bool:
    """Whether gRPC reaches `host` through an HTTP proxy of the environment, which resolves the name itself."""
    environment = os.environ
    if not any(environment.get(name) for name in _PROXY_VARIABLES):
        return False
    excluded = next((value for name in _NO_PROXY_VARIABLES if (value := environment.get(name))), "")
    return not urllib.request.proxy_bypass_environment(host, {"no": excluded})  # type: ignore[attr-defined]


def _ask_system(target: HostTarget) -> set[str]:
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is empty or too long
        raise OSError(f"{target.host!r} is not a valid host name: {error}") from None
    return {str(address[0]) for *_, address in found}


def _ask(target: HostTarget) -> set[str]:
    import dns.exception  # only for targets that name a server
    import dns.resolver

    host, port = _split(target.server)
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.lifetime = [host], port, _DNS_SECONDS
    try:
        answers = resolver.resolve_name(target.host, search=False)
        return set(answers.addresses())
    except dns.exception.DNSException as error:
        raise OSError(str(error)) from None


def _split(server: str) -> tuple[str, int]:
    """Return the address and port of a DNS server, given as IP, IP:PORT, [IP] or [IP]:PORT."""
    if _is_ip_address(server):
        return server, _DNS_PORT
    host, _, port = server.rpartition(":")
    if not port.isdecimal():
        host, port = server, str(_DNS_PORT)
    return host.strip("[]"), int(port)


def _is_ip_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True

"""Properties of the addresses that services listen on and clients connect to."""

import ipaddress
import re

_SCHEME = re.compile(r"[a-z0-9+.-]+:.*:")  # `ipv4:HOST:PORT` and the like, which clients resolve


def is_host_and_port(address: str) -> bool:
    """Whether `address` is HOST:PORT."""
    host, _, port = address.rpartition(":")
    return bool(host) and port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) < 1 << 16


def is_unix_socket(address: str) -> bool:
    """Whether `address` is a unix socket in the file system, protected by the permissions of the file and its folder.

    Abstract ones are not: any process of this machine can connect to one, or take its name.
    """
    scheme, _, path = address.partition(":")
    return scheme == "unix" and bool(path.strip("/")) and path[0] != "@"


def is_listen_address(address: str) -> bool:
    """Whether `address` is one of the kinds that services listen on: HOST:PORT or unix:PATH."""
    return is_unix_socket(address) or (is_host_and_port(address) and not _SCHEME.match(address))


def is_local(address: str) -> bool:
    """Whether traffic to `address`, or to every address of a comma-separated list, stays on this machine."""
    if is_unix_socket(address):
        return True
    hosts = address
    for scheme in ("dns:", "ipv4:", "ipv6:"):
        hosts = hosts.removeprefix(scheme)
    return all(_is_loopback(one.rpartition(":")[0].strip("[]")) for one in hosts.lstrip("/").split(","))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

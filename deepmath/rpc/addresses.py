"""Addresses that services listen on and clients call, and what can be told by looking at them."""

import ipaddress


def is_host_and_port(address: str) -> bool:
    """Whether `address` is HOST:PORT."""
    host, _, port = address.rpartition(":")
    return bool(host) and port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) < 1 << 16


def is_unix(address: str) -> bool:
    """Whether `address` is a unix socket: TLS is not spoken there, the permissions of its folder guard it."""
    return address.startswith(("unix:", "unix-abstract:"))


def stays_here(address: str) -> bool:
    """Whether nothing that is sent to `address`, or to any of the addresses in it, leaves this machine."""
    if is_unix(address):
        return True
    rest = address
    for scheme in ("dns:", "ipv4:", "ipv6:"):
        rest = rest.removeprefix(scheme)
    return all(_is_loopback(one.rpartition(":")[0].strip("[]")) for one in rest.lstrip("/").split(","))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

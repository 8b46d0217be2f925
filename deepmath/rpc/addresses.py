"""Properties of the addresses that services listen on and clients connect to."""

import ipaddress


def is_host_and_port(address: str) -> bool:
    """Whether `address` is HOST:PORT."""
    host, _, port = address.rpartition(":")
    return bool(host) and port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) < 1 << 16


def is_unix_socket(address: str) -> bool:
    """Whether `address` is a unix socket, which is plaintext and protected by the permissions of its folder."""
    return address.startswith(("unix:", "unix-abstract:"))


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

"""Client channels: options, targets, and the resolution of host names."""

import ipaddress
import json

import grpc

from deepmath.access.tls import TlsFiles, channel_credentials
from deepmath.clients.credentials import Credentials
from deepmath.clients.renewed_channel import RenewedChannel
from deepmath.errors import InvalidRequest
from deepmath.rpc.address_watcher import RESOLVE_SECONDS, AddressWatcher
from deepmath.rpc.host_resolution import parse_host_target, uses_http_proxy

_ROUND_ROBIN = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})
_OPTIONS = [
    ("grpc.service_config", _ROUND_ROBIN),
    ("grpc.max_receive_message_length", 256 << 20),  # a rollout of long trajectories
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Detect the silent loss of a server's machine within half a minute, however long a call may take.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
]
_NO_HTTP_PROXY = ("grpc.enable_http_proxy", 0)


def open_channel(
    target: str, credentials: Credentials, authority: str = "", resolve_s: float = RESOLVE_SECONDS
) -> RenewedChannel:
    """Return a channel to HOST:PORT, unix:PATH, a gRPC name such as dns:///NAME:PORT, or IP:PORT,IP:PORT,...

    It connects with the first call. A host name is resolved again every `resolve_s` seconds. With TLS, the certificates
    of all addresses must be valid for `authority`, by default the target, of a list the first address.

    Raises:
        InvalidRequest: `target` is none of these.
    """
    resolvable = _resolvable(target)
    host = parse_host_target(target)
    first, more, _ = target.removeprefix("ipv4:").removeprefix("ipv6:").partition(",")
    authority = authority or (host.authority if host else "") or (first if more else "")
    options = [*_OPTIONS, ("grpc.default_authority", authority)] if authority else _OPTIONS

    def open_with(files: TlsFiles | None, address: str) -> grpc.aio.Channel:
        destination, arguments = (address, [*options, _NO_HTTP_PROXY]) if address else (resolvable, options)
        if files is None:
            return grpc.aio.insecure_channel(destination, options=arguments)
        return grpc.aio.secure_channel(destination, channel_credentials(files), options=arguments)

    # An HTTP proxy of the environment resolves names itself, and may be the only one that can.
    watcher = AddressWatcher(host, resolve_s) if host and not uses_http_proxy(host.host) else None
    return RenewedChannel(credentials, open_with, watcher)


def _resolvable(target: str) -> str:
    """Return `target` in the form that gRPC's resolvers take."""
    if target.startswith(("unix:", "dns:", "ipv4:", "ipv6:")):
        return target
    addresses = target.split(",")
    if not all(_has_port(address) for address in addresses):
        raise InvalidRequest(f"{target!r} is not a valid address: give HOST:PORT, unix:PATH, or IP:PORT,IP:PORT,...")
    if len(addresses) == 1:
        return target
    try:
        version = {ipaddress.ip_address(address.rpartition(":")[0].strip("[]")).version for address in addresses}
    except ValueError as error:
        raise InvalidRequest(f"{target!r}: a list takes IP:PORT only; for host names use dns:///NAME:PORT") from error
    if len(version) != 1:
        raise InvalidRequest(f"{target!r} mixes IPv4 and IPv6 addresses")
    return f"ipv{version.pop()}:{target}"


def _has_port(address: str) -> bool:
    host, _, port = address.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65536

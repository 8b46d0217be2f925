"""Classification of addresses: syntax, unix sockets, loopback."""

import pytest

from deepmath.rpc.addresses import is_host_and_port, is_listen_address, is_local, is_unix_socket


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:7301", "executor.example:65535"])
def test_host_and_port_is_recognised(address: str) -> None:
    assert is_host_and_port(address)


@pytest.mark.parametrize("address", ["", "localhost", ":7301", "localhost:x", "localhost:65536", "localhost:²"])
def test_anything_else_is_not_host_and_port(address: str) -> None:
    assert not is_host_and_port(address)


@pytest.mark.parametrize(
    "address", ["unix:/run/socket", "localhost:1", "127.1.2.3:1", "dns:///localhost:1", "ipv6:[::1]:1,[::1]:2"]
)
def test_loopback_and_unix_sockets_are_local(address: str) -> None:
    assert is_local(address)


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0:1", "[::]:1", "executor:1", "127.0.0.1:1,192.0.2.1:1", "dns:///x:1", "unix-abstract:x", "unix:@x"],
)
def test_everything_else_leaves_the_machine(address: str) -> None:
    assert not is_local(address)
    assert not is_unix_socket(address)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:0", "0.0.0.0:7301", "[::1]:7301", "executor:1", "unix:socket", "unix:/run/s", "unix:///run/s"],
)
def test_service_listens_on_hosts_and_socket_files(address: str) -> None:
    assert is_listen_address(address)


@pytest.mark.parametrize(
    "address",
    [
        *("", "unix:", "unix://", "unix:@x", "unix-abstract:x", "unix-abstract:x:1", "vsock:3:7301", "xds:x", "7301"),
        *("ipv4:127.0.0.1:1", "ipv6:[::1]:1", "dns:///localhost:1", "dns:localhost:1", "UNIX:/x", "tcp:x:1"),
    ],
)
def test_service_listens_on_nothing_else(address: str) -> None:
    assert not is_listen_address(address)

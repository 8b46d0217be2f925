"""Classification of addresses: syntax, unix sockets, loopback."""

import pytest

from deepmath.rpc.addresses import is_host_and_port, is_local, is_unix_socket


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


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "executor:1", "127.0.0.1:1,192.0.2.1:1", "dns:///x:1"])
def test_everything_else_leaves_the_machine(address: str) -> None:
    assert not is_local(address)
    assert not is_unix_socket(address)

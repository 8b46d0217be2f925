"""Network attacks: no socket is created, no listener is reached, the control socket cannot be changed."""

import contextlib
import socket
from typing import Any

import pytest
from support.attacks import is_killed, is_refused
from support.ports import free_ports

KILLED = {
    "tcp_socket": "libc.socket(2, 1, 0)",
    "udp_socket": "libc.socket(2, 2, 0)",
    "ipv6_socket": "libc.socket(10, 1, 0)",
    "raw_socket": "libc.socket(2, 3, 1)",
    "packet_socket": "libc.socket(17, 3, 0)",
    "vsock_socket": "libc.socket(40, 1, 0)",
    "sctp_socket": "libc.socket(2, 1, 132)",
    "bluetooth_socket": "libc.socket(31, 3, 1)",
    "crypto_socket": "libc.socket(38, 5, 0)",
    "xdp_socket": "libc.socket(44, 3, 0)",
    "socket_pair": "libc.socketpair(1, 1, 0, (ctypes.c_int * 2)())",
    "message_on_the_control_socket": "libc.sendmsg(3, b'\\0' * 56, 0)",
    "descriptors_from_the_control_socket": "libc.recvmsg(3, ctypes.create_string_buffer(56), 0)",
    "address_on_the_control_socket": "libc.sendto(3, b'x', 1, 0, 0, 0)",
    "many_messages_on_the_control_socket": "libc.sendmmsg(3, b'\\0' * 64, 1, 0)",
    "binds_the_control_socket": "libc.bind(3, b'\\1\\0\\0attack', 9)",
    "connects_the_control_socket": "libc.connect(3, b'\\1\\0\\0attack', 9)",
    "listens_on_the_control_socket": "libc.listen(3, 1)",
    "accepts_on_the_control_socket": "libc.accept(3, 0, 0)",
    "download": "load('urllib.request').urlopen('http://127.0.0.1:9/')",
    "remote_procedure_calls": "load('xmlrpc.client').ServerProxy('http://127.0.0.1:9/').f()",
    "io_uring": "call(425, 8, ctypes.create_string_buffer(256))",
    "io_uring_entered": "call(426, 3, 1, 0, 0, 0, 0)",
    "io_uring_registered": "call(427, 3, 0, 0, 0)",
    "family_of_64_bits": "libc.syscall(41, ctypes.c_long(1 << 32 | 2), 1, 0)",
}
REFUSED = {
    # Libraries open these to ask about users and network cards (test_host_questions.py).
    "unix_socket": "checked(libc.socket(1, 1, 0))",
    "netlink_socket": "checked(libc.socket(16, 3, 0))",
    "interfaces": "load('socket').if_nameindex()",
    "shuts_the_control_socket": "checked(libc.shutdown(3, 2))",
    "configures_the_control_socket": "checked(libc.setsockopt(3, 1, 7, b'\\1\\0\\0\\0', 4))",
    "asks_for_its_peer": "checked(libc.getsockopt(3, 1, 17, ctypes.create_string_buffer(12), b'\\x0c\\0\\0\\0'))",
    "asks_for_the_peers_name": "checked(libc.getpeername(3, ctypes.create_string_buffer(128), b'\\x80\\0\\0\\0'))",
    "asks_for_its_own_name": "checked(libc.getsockname(3, ctypes.create_string_buffer(128), b'\\x80\\0\\0\\0'))",
    "own_process_of_the_control_socket": "load('fcntl').fcntl(3, 8, os.getppid())",
    "unblocks_the_control_socket": "os.set_blocking(3, False)",
    "widens_its_pipe": "load('fcntl').fcntl(1, 1031, 1 << 20)",
    "asks_how_much_is_unread": "load('fcntl').ioctl(3, 0x541B, b'\\0' * 4)",
    "event_loop": "a = load('asyncio')\nloop = a.new_event_loop()",
}


@pytest.mark.parametrize("name", KILLED)
async def test_socket_call_kills(attacker, name):
    is_killed(await attacker.run(KILLED[name], wall_ms=5000))


@pytest.mark.parametrize("name", REFUSED)
async def test_local_socket_or_change_of_control_socket_or_pipes_is_refused(attacker, name):
    is_refused(await attacker.run(REFUSED[name], wall_ms=5000), "PermissionError")


def address(family: int, place: Any) -> bytes:
    """Return the socket address of a listener in the kernel's format."""
    head = family.to_bytes(2, "little")
    if family == socket.AF_UNIX:
        return head + (place if isinstance(place, bytes) else str(place).encode())
    host, port = place[:2]
    if family == socket.AF_INET:
        return head + port.to_bytes(2, "big") + socket.inet_aton(host) + bytes(8)
    return head + port.to_bytes(2, "big") + bytes(4) + socket.inet_pton(family, host) + bytes(4)


LISTENERS: dict[str, tuple[socket.AddressFamily, socket.SocketKind, Any]] = {
    "tcp": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
    "udp": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
    "tcp_over_ipv6": (socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)),
    "udp_over_ipv6": (socket.AF_INET6, socket.SOCK_DGRAM, ("::1", 0)),
    "unix_stream": (socket.AF_UNIX, socket.SOCK_STREAM, "path"),
    "unix_datagram": (socket.AF_UNIX, socket.SOCK_DGRAM, "path"),
    "abstract_stream": (socket.AF_UNIX, socket.SOCK_STREAM, b"\0deepmath-attack"),
    "abstract_packets": (socket.AF_UNIX, socket.SOCK_SEQPACKET, b"\0deepmath-attack"),
}


@pytest.mark.parametrize("name", LISTENERS)
async def test_local_listener_is_not_reached(attacker, tmp_path, name):
    family, kind, place = LISTENERS[name]
    with socket.socket(family, kind) as listener:
        listener.bind(str(tmp_path / "socket") if place == "path" else place)
        if kind != socket.SOCK_DGRAM:
            listener.listen()
        listener.setblocking(False)
        where = address(family, listener.getsockname())
        attempt = f"""
s = libc.socket({int(family)}, {int(kind)}, 0)
libc.connect(s, {where!r}, {len(where)})
os.write(s, b"attack")
"""
        is_killed(await attacker.run(attempt))
        with pytest.raises(BlockingIOError):
            listener.recv(1) if kind == socket.SOCK_DGRAM else listener.accept()


async def test_connectionless_datagram_does_not_arrive(attacker):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.setblocking(False)
        where = address(socket.AF_INET, listener.getsockname())
        is_killed(await attacker.run(f"libc.sendto(libc.socket(2, 2, 0), b'x', 1, 0, {where!r}, {len(where)})"))
        with pytest.raises(BlockingIOError):
            listener.recv(1)


async def test_executor_socket_is_not_reached(attacker):
    where = address(socket.AF_UNIX, attacker.executor.log.with_name("socket"))
    is_killed(await attacker.run(f"libc.connect(libc.socket(1, 1, 0), {where!r}, {len(where)})"))


async def test_docker_socket_cannot_be_opened(attacker):
    result = await attacker.run("os.open('/var/run/docker.sock', os.O_RDONLY)")
    is_refused(result, "FileNotFoundError", "PermissionError", "OSError")


async def test_snippet_cannot_listen(attacker):
    (port,) = free_ports(1)
    where = address(socket.AF_INET, ("127.0.0.1", port))
    is_killed(await attacker.run(f"s = libc.socket(2, 1, 0)\nlibc.bind(s, {where!r}, 16)\nlibc.listen(s, 1)"))
    with contextlib.closing(socket.socket()) as client, pytest.raises(ConnectionRefusedError):
        client.connect(("127.0.0.1", port))

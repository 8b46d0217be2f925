"""Connection floods, slow connections and oversized messages are refused or closed, and the service stays healthy."""

import asyncio
import re
import resource
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from itertools import islice
from pathlib import Path

import grpc
import pytest
from support.secured import Authority, Served, serving

from deepmath.errors import InvalidRequest, Unavailable
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.executor.v1 import executor_pb2_grpc as rpc

MANY = 1000
MOST_CONNECTIONS = 200
_PATIENCE_SECONDS = 60
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_EMPTY_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_UNFINISHED_HEADERS = bytes([0, 0, 40, 1, 0, 0, 0, 0, 1])  # announces forty bytes of headers that are never sent
_PING = bytes([0, 0, 8, 6, 0, 0, 0, 0, 0]) + bytes(8)


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def alice(authority) -> Path:
    return authority.issue("alice")


def run_guarded(authority: Authority, folder: Path, handshake_s: int) -> AbstractAsyncContextManager[Served]:
    options = {
        "tls": authority.issue("executor"),
        "max-connections": MOST_CONNECTIONS,
        "handshake-seconds": handshake_s,
        "connection-idle-seconds": 3,
        "preload": "none",
    }
    return serving("executor", folder, *(f"--{name}={value}" for name, value in options.items()))


@pytest.fixture(scope="module")
async def guarded(authority, tmp_path_factory) -> AsyncIterator[Served]:
    async with run_guarded(authority, tmp_path_factory.mktemp("guarded"), handshake_s=3) as served:
        yield served


@pytest.fixture
async def guarded_slowly(authority, tmp_path) -> AsyncIterator[Served]:
    """An executor with a handshake timeout long enough for a slow machine to open all connections."""
    async with run_guarded(authority, tmp_path, handshake_s=12) as served:
        yield served


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Connection:
    """A raw connection that sends only what the test writes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, served: Served, tls: Path | None = None) -> "Connection":
        context = None
        if tls:
            context = ssl.create_default_context(cafile=tls / "ca.crt")
            context.load_cert_chain(tls / "tls.crt", tls / "tls.key")
            context.set_alpn_protocols(["h2"])
        return cls(*await asyncio.open_connection("127.0.0.1", served.port, ssl=context))

    async def drip(self, data: bytes, pause_s: float = 0.5) -> None:
        """Send one byte at a time until the service closes the connection."""
        for byte in data:
            try:
                self.writer.write(bytes([byte]))
                await self.writer.drain()
            except OSError:
                return
            await asyncio.sleep(pause_s)

    async def end(self) -> bytes:
        """Return the bytes received until the service closed the connection."""
        received = b""
        try:
            while data := await self.reader.read(1 << 16):
                received += data
        except OSError:
            pass
        return received

    def close(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def connections(served: Served, count: int, tls: Path | None = None) -> AsyncIterator[list[Connection]]:
    async with AsyncExitStack() as stack:
        opened = await asyncio.gather(*(Connection.to(served, tls) for _ in range(count)), return_exceptions=True)
        made = [one for one in opened if isinstance(one, Connection)]
        for one in made:
            stack.callback(one.close)
        yield made


async def is_healthy(served: Served, tls: Path) -> bool:
    async with served.client(tls, patience_s=_PATIENCE_SECONDS) as client:
        return (await client.execute("6 * 7")).value == "42"


@pytest.mark.slow
async def test_thousand_connections_are_shed_and_an_earlier_client_is_served(guarded_slowly, alice, many_descriptors):
    async with guarded_slowly.client(alice) as before:
        assert (await before.execute("1")).value == "1"
        async with before.session() as session, connections(guarded_slowly, MANY) as opened:
            await session.run("x = 1")
            ends = [asyncio.create_task(one.end()) for one in opened]
            async with asyncio.timeout(_PATIENCE_SECONDS):
                for shed in islice(asyncio.as_completed(ends), len(opened) - MOST_CONNECTIONS):
                    await shed
            async with guarded_slowly.client(alice) as late:
                with pytest.raises(Unavailable, match="cannot be reached"):
                    await late.get_info(deadline_s=0.5)
            assert (await session.run("x")).value == "1"
            async with asyncio.timeout(_PATIENCE_SECONDS):  # the accepted ones stay silent and are closed too
                await asyncio.gather(*ends)
            assert await is_healthy(guarded_slowly, alice)
    assert await is_healthy(guarded_slowly, alice)


@pytest.mark.slow
async def test_thousand_channels_of_one_client_are_served(guarded, alice, many_descriptors):
    async def ask() -> str:
        async with guarded.client(alice) as client:
            return (await client.get_info(deadline_s=_PATIENCE_SECONDS)).version

    free = asyncio.Semaphore(MOST_CONNECTIONS // 2)

    async def in_turn() -> str:
        async with free:
            return await ask()

    versions = await asyncio.gather(*(in_turn() for _ in range(MANY)))
    assert len(set(versions)) == 1
    assert await is_healthy(guarded, alice)


@pytest.mark.slow
async def test_slow_handshake_is_cut_off(guarded, alice):
    hello = bytes([0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC])  # start of a long ClientHello
    async with connections(guarded, 50) as opened:
        dripping = [asyncio.create_task(one.drip(hello * 100)) for one in opened]
        assert await is_healthy(guarded, alice)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await asyncio.gather(*(one.end() for one in opened))
        for drip in dripping:
            drip.cancel()
    assert await is_healthy(guarded, alice)


@pytest.mark.slow
@pytest.mark.parametrize(
    "prefix", [b"", _HTTP2_PREFACE + _EMPTY_SETTINGS + _UNFINISHED_HEADERS], ids=["preface", "headers"]
)
async def test_slow_client_with_a_certificate_is_cut_off(guarded, alice, prefix):
    async with connections(guarded, 20, alice) as opened:
        assert len(opened) == 20
        for one in opened:
            one.writer.write(prefix)
        dripping = [asyncio.create_task(one.drip((_HTTP2_PREFACE if not prefix else bytes(40)) * 5)) for one in opened]
        assert await is_healthy(guarded, alice)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await asyncio.gather(*(one.end() for one in opened))
        for drip in dripping:
            drip.cancel()
    assert await is_healthy(guarded, alice)


async def test_client_that_pings_too_often_is_disconnected(guarded, alice):
    async with connections(guarded, 1, alice) as (one,):
        one.writer.write(_HTTP2_PREFACE + _EMPTY_SETTINGS + 20 * _PING)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            assert b"too_many_pings" in await one.end()
    assert await is_healthy(guarded, alice)


async def test_oversized_message_is_rejected_and_the_session_continues(guarded, alice):
    async with guarded.client(alice) as client, client.session() as session:
        await session.run("x = 1")
        with pytest.raises(InvalidRequest, match="larger than max"):
            await session.run("#" * (5 << 20))
        assert (await session.run("x")).value == "1"


async def test_oversized_metadata_is_rejected(guarded, alice):
    async with guarded.client(alice) as client:
        stub = rpc.ExecutorServiceStub(client.channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetInfo(pb.GetInfoRequest(), metadata=(("padding", "x" * (1 << 17)),), timeout=10)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert re.search("metadata", refused.value.details() or "")
        assert (await client.execute("6 * 7")).value == "42"


async def test_plain_http_connection_is_closed(guarded, alice):
    with socket.create_connection(("127.0.0.1", guarded.port), 5) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        plain.settimeout(_PATIENCE_SECONDS)
        assert b"200" not in await asyncio.to_thread(plain.recv, 1 << 16)
    assert await is_healthy(guarded, alice)

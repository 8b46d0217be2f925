"""Callers without a token, and unfinished requests, take bounded memory, and others are served meanwhile."""

import asyncio
import socket
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.http2_client import Http2Client
from support.secured import Served, add_token, serving

from deepmath.clients import ExecutorClient
from deepmath.errors import Overloaded

pytestmark = pytest.mark.slow

MESSAGE_BYTES, UNREAD_BYTES = 4 << 20, 16 << 20
WINDOW = 65_535  # of HTTP/2 until the server grants more: what a call can send that nobody reads
RECEIVE_SECONDS, CALLS, WATCHERS = 2, 40, 64
UNFINISHED = b"\0" + MESSAGE_BYTES.to_bytes(4, "big") + bytes(MESSAGE_BYTES - 8)
SERVICE = "/deepmath.executor.v1.ExecutorService/"
METHODS = {
    "unary": SERVICE + "Execute",
    "empty_request": SERVICE + "GetInfo",
    "stream": SERVICE + "Session",
    "reflection": "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "unknown_method": SERVICE + "Missing",
    "unknown_service": "/no.such.Service/Method",
}
AUTHORIZATION = {"missing": "", "wrong": "Bearer wrong", "malformed": "\x01", "revoked": "Bearer " + "a" * 43}


@dataclass
class Guarded:
    """An executor with two clients, alice and bob."""

    served: Served
    alice: Path
    bob: Path
    health: str
    metrics: int

    def client(self, token: Path) -> ExecutorClient:
        return self.served.client(token_file=token, patience_s=20)

    async def is_healthy(self) -> bool:
        async with self.client(self.bob) as client:
            return (await client.execute("6 * 7")).value == "42"

    def resident(self) -> int:
        return self._status("VmRSS") << 10

    def threads(self) -> int:
        return self._status("Threads")

    def _status(self, field: str) -> int:
        lines = Path(f"/proc/{self.served.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(field)).split()[1])


@pytest.fixture(scope="module")
async def guarded(tmp_path_factory) -> AsyncIterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    tokens = folder / "tokens.toml"
    alice, bob = (add_token(tokens, name, "execute") for name in ("alice", "bob"))
    options = {
        "tokens": tokens,
        "health-listen": "127.0.0.1:0",
        "metrics-listen": "127.0.0.1:0",
        "max-unread-bytes": UNREAD_BYTES,
        "max-message-bytes": MESSAGE_BYTES,
        "receive-seconds": RECEIVE_SECONDS,
        "max-calls": CALLS,
    }
    async with serving("executor", folder, *(f"--{name}={value}" for name, value in options.items())) as served:
        ports = {line.split()[0]: line.split()[-1] for line in served.printed}
        yield Guarded(served, alice, bob, ports["health"], int(ports["metrics"].rpartition(":")[2]))


@asynccontextmanager
async def connected(port: int, count: int) -> AsyncIterator[list[Http2Client]]:
    async with AsyncExitStack() as stack:
        clients = [await Http2Client.to("127.0.0.1", port) for _ in range(count)]
        for client in clients:
            stack.callback(client.close)
        yield clients


async def send_unfinished(clients: list[Http2Client], path: str, calls: int, authorization: str) -> int:
    """Start `calls` calls that never finish their request; return the bytes that the server let them send."""

    async def one(client: Http2Client) -> int:
        return await client.send(client.call(path, authorization=authorization), UNFINISHED, seconds=1.5)

    return sum(await asyncio.gather(*(one(clients[n % len(clients)]) for n in range(calls))))


@pytest.mark.parametrize("connections", [1, 10])
@pytest.mark.parametrize("method", METHODS)
async def test_request_of_a_caller_without_a_token_is_never_read(guarded, method, connections):
    before = guarded.resident()
    async with connected(guarded.served.port, connections) as clients:
        sent = await send_unfinished(clients, METHODS[method], 50, "Bearer wrong")
        assert sent <= 50 * WINDOW
        assert sum(len(client.ended) for client in clients) == 50
        assert guarded.resident() - before < 16 << 20
        assert await guarded.is_healthy()


@pytest.mark.parametrize("kind", AUTHORIZATION)
async def test_every_wrong_token_is_rejected_before_the_request(guarded, kind):
    async with connected(guarded.served.port, 1) as (client,):
        assert await send_unfinished([client], METHODS["unary"], 4, AUTHORIZATION[kind]) <= 4 * WINDOW
        assert len(client.ended) == 4 or client.closed.is_set()
    assert await guarded.is_healthy()


async def test_unfinished_requests_of_a_client_take_half_of_the_unread_bytes_and_end(guarded):
    token = guarded.alice.read_text().strip()
    async with connected(guarded.served.port, 2) as clients:
        calls = 4
        sent = await send_unfinished(clients, METHODS["unary"], calls, f"Bearer {token}")
        assert UNREAD_BYTES // 2 - WINDOW < sent <= UNREAD_BYTES // 2 + calls * WINDOW
        assert await guarded.is_healthy()  # the other client's
        async with asyncio.timeout(20):
            while sum(len(client.ended) for client in clients) < calls:  # noqa: ASYNC110 - the event is in another process
                await asyncio.sleep(0.1)


async def test_unread_messages_of_a_session_wait_at_its_client(guarded):
    token = guarded.alice.read_text().strip()
    message = b"\0\0\0\0\2\x0a\0"  # `open` with no field
    async with connected(guarded.served.port, 1) as (client,):
        stream = client.call(METHODS["stream"], authorization=f"Bearer {token}")
        await client.send(stream, message)
        code = b"import random\nrandom._os.sys.modules['time'].sleep(3)"
        snippet = b"\x08\x01\x12" + bytes([len(code)]) + code
        run = b"\x12" + bytes([len(snippet)]) + snippet
        await client.send(stream, b"\0" + len(run).to_bytes(4, "big") + run)
        sent = await client.send(stream, (b"\0" + (100_000).to_bytes(4, "big") + bytes(100_000)) * 40, seconds=1.5)
        assert sent <= 2 * WINDOW
    assert await guarded.is_healthy()


async def test_more_calls_than_the_service_takes_are_refused_with_a_delay(guarded):
    token = guarded.alice.read_text().strip()
    async with connected(guarded.served.port, 1) as (client,):
        for _ in range(CALLS):
            client.call(METHODS["stream"], authorization=f"Bearer {token}")
        await asyncio.sleep(0.5)
        async with guarded.served.client(token_file=guarded.bob, patience_s=0.2) as other:
            with pytest.raises(Overloaded, match=f"{CALLS} calls are in flight"):
                await other.get_info()
    assert await guarded.is_healthy()


async def test_health_endpoint_serves_probes_beside_watchers_and_unfinished_requests(guarded):
    before = guarded.resident()
    port = int(guarded.health.rpartition(":")[2])
    watch, check = "/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/Check"
    async with connected(port, 30) as clients:
        for client in clients:
            for _ in range(20):
                stream = client.call(watch)
                await client.send(stream, b"\0\0\0\0\0", ends=True)
        assert {client.max_streams for client in clients} == {8}
        await asyncio.sleep(1)
        live = sum(20 - len(client.ended) for client in clients if not client.closed.is_set())
        assert live <= WATCHERS
        await send_unfinished(clients[:4], check, 4, "")
        assert guarded.resident() - before < 16 << 20
        async with grpc.aio.insecure_channel(guarded.health) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)  # its types name no methods
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=15, wait_for_ready=True)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_unfinished_health_checks_on_the_service_port_are_cut_off_and_others_answered(guarded):
    before = guarded.resident()
    async with connected(guarded.served.port, 2) as clients:
        await send_unfinished(clients, "/grpc.health.v1.Health/Check", 50, "")
        assert guarded.resident() - before < 32 << 20
        assert await guarded.is_healthy()


async def test_idle_connections_take_little_memory_and_no_thread(guarded):
    before, threads = guarded.resident(), guarded.threads()
    async with AsyncExitStack() as stack:
        for port in (guarded.served.port, int(guarded.health.rpartition(":")[2]), guarded.metrics):
            for _ in range(200):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
        assert await guarded.is_healthy()
        assert guarded.threads() - threads <= 2
        assert guarded.resident() - before < 600 * (64 << 10)
        page = f"http://127.0.0.1:{guarded.metrics}/metrics"
        with await asyncio.to_thread(urllib.request.urlopen, page, timeout=10) as answer:
            assert b"deepmath_executor_" in answer.read()

"""Floods of an executor by callers without a token, for `benchmarks.neighbour_floods`."""

import asyncio
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import suppress

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.executor.v1 import executor_pb2_grpc as rpc

_EXECUTE = "/deepmath.executor.v1.ExecutorService/Execute"
_CONNECTIONS = 40  # of each stream of a flood
_HOLD_S = 0.2
_MESSAGE_BYTES = 4 << 20

Caller = Callable[[str, int], Awaitable[None]]
"""A stream of a flood, given the address of the executor and its metrics port."""


async def rejected_calls(address: str, _: int) -> None:
    """Send long requests with a wrong token."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = rpc.ExecutorServiceStub(channel)
        request = pb.ExecuteRequest(code="#" + "x" * (255 << 10))
        while True:
            with suppress(grpc.aio.AioRpcError):
                await stub.Execute(request, metadata=(("authorization", "Bearer wrong"),))


async def unfinished_requests(address: str, _: int) -> None:
    """Start calls whose request never ends, on connection after connection."""
    start = _frame(4, 0, 0) + b"".join(_unfinished_call(stream) for stream in range(1, 40, 2))
    while True:
        _, writer = await asyncio.open_unix_connection(address.removeprefix("unix:"))
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + start)
        await asyncio.sleep(_HOLD_S)
        writer.transport.abort()


async def idle_connections(address: str, _: int) -> None:
    """Open connections and send nothing."""
    while True:
        opened = [await asyncio.open_unix_connection(address.removeprefix("unix:")) for _ in range(_CONNECTIONS)]
        await asyncio.sleep(_HOLD_S)
        for _, writer in opened:
            writer.transport.abort()


async def health_watchers(address: str, _: int) -> None:
    """Watch the health of the service as often as it lets us."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while True:
            watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(_CONNECTIONS)]
            await asyncio.sleep(_HOLD_S)
            for watch in watches:
                watch.cancel()


async def metrics_scrapes(_: str, port: int) -> None:
    """Scrape the metrics without a pause."""
    while True:
        with suppress(OSError):
            await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read())


def _unfinished_call(stream: int) -> bytes:
    names = {":method": "POST", ":scheme": "http", ":path": _EXECUTE, ":authority": "localhost"}
    names |= {"te": "trailers", "content-type": "application/grpc"}
    literals = (
        bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode() for name, value in names.items()
    )
    message = b"\0" + _MESSAGE_BYTES.to_bytes(4, "big") + bytes(3 << 10)
    return _frame(1, 4, stream, b"".join(literals)) + _frame(0, 0, stream, message)


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame of HTTP/2: RFC 9113, section 4.1."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


CALLERS: dict[str, Caller] = {
    "rejected_calls": rejected_calls,
    "unfinished_requests": unfinished_requests,
    "idle_connections": idle_connections,
    "health_watchers": health_watchers,
    "metrics_scrapes": metrics_scrapes,
}

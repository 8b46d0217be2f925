"""The metrics endpoint under slow, silent, wrong and too many clients."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deepmath.observability import metrics_server
from deepmath.observability.metrics_server import serve_metrics

CONNECTIONS, SECONDS, INTERVAL = 4, 0.5, 0.05
GET = b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n"


class Pages(Collector):
    """Counts the pages that were rendered."""

    def __init__(self) -> None:
        self.rendered = 0
        self.fails = False

    def collect(self) -> Iterable[Metric]:
        self.rendered += 1
        if self.fails:
            raise TimeoutError
        yield GaugeMetricFamily("pages", "Pages rendered.", self.rendered)


@pytest.fixture
def pages() -> Pages:
    return Pages()


@pytest.fixture
async def port(pages, monkeypatch) -> AsyncIterator[int]:
    monkeypatch.setattr(metrics_server, "_MAX_CONNECTIONS", CONNECTIONS)
    monkeypatch.setattr(metrics_server, "_CONNECTION_SECONDS", SECONDS)
    monkeypatch.setattr(metrics_server, "_PAGE_INTERVAL_SECONDS", INTERVAL)
    registry = CollectorRegistry()
    async with serve_metrics(registry, "127.0.0.1:0") as bound:
        registry.register(pages)
        pages.rendered = 0  # to register it, the registry asked for its names
        yield bound


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 5)


def answer_to(port: int, request: bytes) -> bytes:
    with connect(port) as connection:
        connection.sendall(request)
        return read(connection)


def read(connection: socket.socket) -> bytes:
    received = b""
    try:
        while data := connection.recv(1 << 16):
            received += data
    except ConnectionError:
        pass
    return received


async def test_page_is_served_and_ends_the_connection(port) -> None:
    page = await asyncio.to_thread(answer_to, port, GET)
    assert page.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=")
    assert page.endswith(b"\npages 1.0\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /other HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /metrics?name[]=x HTTP/1.1\r\n\r\n", b"200"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", b"200"),
        (b"\r\n\r\n", b"405"),
        (b"\xff\0 \xfe\r\n\r\n", b"405"),
        (b"GET\r\n\r\n", b"404"),
    ],
)
async def test_every_request_gets_a_status(port, request_bytes, status) -> None:
    assert (await asyncio.to_thread(answer_to, port, request_bytes)).startswith(b"HTTP/1.1 " + status)


async def test_failing_collector_is_unavailable_and_the_next_page_is_served(port, pages) -> None:
    pages.fails = True
    assert b" 503 " in await asyncio.to_thread(answer_to, port, GET)
    pages.fails = False
    assert b" 200 " in await asyncio.to_thread(answer_to, port, GET)


@pytest.mark.parametrize("start", [b"", b"GET /metrics HTTP/1.1\r\n"])
async def test_silent_connection_is_closed(port, start) -> None:
    before = time.monotonic()
    assert await asyncio.to_thread(answer_to, port, start) == b""
    assert time.monotonic() - before >= SECONDS / 2


async def test_slow_request_is_cut_off(port) -> None:
    def drip() -> int:
        with connect(port) as connection:
            for sent in range(100):
                try:
                    connection.sendall(b"x")
                except ConnectionError:
                    return sent
                time.sleep(SECONDS / 5)
        return 100

    assert await asyncio.to_thread(drip) < 20


async def test_endless_head_is_cut_off(port) -> None:
    def flood() -> int:
        with connect(port) as connection:
            for sent in range(1000):
                try:
                    connection.sendall(b"x" * (1 << 16))
                except ConnectionError:
                    return sent
        return 1000

    assert await asyncio.to_thread(flood) < 500


async def test_too_many_connections_close_the_oldest_and_a_scrape_is_served(port) -> None:
    threads = threading.active_count()
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(port)) for _ in range(10 * CONNECTIONS)]
        assert b"\npages 1.0\n" in await asyncio.to_thread(answer_to, port, GET)
        assert threading.active_count() <= threads + 3  # the pools of both loops
        assert await asyncio.to_thread(read, idle[0]) == b""


async def test_requests_that_arrive_together_share_a_page(port, pages) -> None:
    first = await asyncio.gather(*(asyncio.to_thread(answer_to, port, GET) for _ in range(CONNECTIONS)))
    assert all(b" 200 " in page for page in first)
    assert pages.rendered < CONNECTIONS
    shared = pages.rendered
    assert f"\npages {shared + 1}.0\n".encode() in await asyncio.to_thread(answer_to, port, GET)

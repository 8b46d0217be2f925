"""A raw HTTP/2 client that sends what a test writes and obeys flow control: for floods that no gRPC client makes."""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9  # RFC 9113
END_STREAM, ACK, END_HEADERS = 1, 1, 4
_INITIAL_WINDOW_SIZE, _MAX_CONCURRENT_STREAMS = 4, 3
_DEFAULT_WINDOW = 65_535
_FRAME_BYTES = 16_384


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def header_block(path: str, **headers: str) -> bytes:
    """Return a call's headers in HPACK (RFC 7541), as literals without indexing."""
    call = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost", "te": "trailers"}
    every = call | {"content-type": "application/grpc"} | headers
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in every.items())


def _text(value: str) -> bytes:
    length = len(value)
    if length < 127:
        return bytes([length]) + value.encode()
    rest, prefix = length - 127, b"\x7f"
    while rest >= 128:
        prefix, rest = prefix + bytes([rest % 128 + 128]), rest // 128
    return prefix + bytes([rest]) + value.encode()


class Http2Client:
    """One connection. `windows` holds what may still be sent on each stream, on the connection under 0."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.initial_window = _DEFAULT_WINDOW
        self.max_streams = 0
        self.sent: dict[int, int] = defaultdict(int)
        self.granted: dict[int, int] = defaultdict(int)
        self.ended: dict[int, bytes] = {}
        """Headers or trailers by stream, raw, once a stream has ended."""
        self.goaway = b""
        self.closed = asyncio.Event()
        self.settled = asyncio.Event()
        self._next = 1
        self._moved = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def to(cls, host: str, port: int, tls: ssl.SSLContext | None = None) -> Http2Client:
        client = cls(*await asyncio.open_connection(host, port, ssl=tls))
        client.writer.write(PREFACE + frame(SETTINGS, 0, 0))
        await client.settled.wait()
        return client

    def call(self, path: str, **headers: str) -> int:
        """Start a call and return its stream."""
        stream, self._next = self._next, self._next + 2
        self.writer.write(frame(HEADERS, END_HEADERS, stream, header_block(path, **headers)))
        return stream

    async def send(self, stream: int, data: bytes, ends: bool = False, seconds: float = 2.0) -> int:
        """Send `data` as far as flow control permits within `seconds`; return the bytes sent."""
        sent = 0
        try:
            async with asyncio.timeout(seconds):
                while sent < len(data):
                    size = min(self._window(stream), self._window(0), _FRAME_BYTES, len(data) - sent)
                    if size <= 0:
                        await self._moved.wait()
                        continue
                    last = ends and sent + size == len(data)
                    self.writer.write(frame(DATA, END_STREAM * last, stream, data[sent : sent + size]))
                    sent += size
                    self.sent[stream] += size
                    self.sent[0] += size
                    await self.writer.drain()
        except (TimeoutError, OSError):
            pass
        return sent

    def _window(self, stream: int) -> int:
        initial = self.initial_window if stream else _DEFAULT_WINDOW
        return initial + self.granted[stream] - self.sent[stream]

    async def _read(self) -> None:
        try:
            while True:
                head = await self.reader.readexactly(9)
                payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
                self._receive(head[3], head[4], int.from_bytes(head[5:], "big") & 0x7FFFFFFF, payload)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.closed.set()
            self.settled.set()
            self._notify()

    def _receive(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            for name, value in _settings(payload):
                if name == _INITIAL_WINDOW_SIZE:
                    self.initial_window = value
                if name == _MAX_CONCURRENT_STREAMS:
                    self.max_streams = value
            self.writer.write(frame(SETTINGS, ACK, 0))
            self.settled.set()
        elif kind == PING and not flags & ACK:
            self.writer.write(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            self.granted[stream] += int.from_bytes(payload, "big")
        elif kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM):
            self.ended[stream] = payload
        elif kind == GOAWAY:
            self.goaway = payload[8:]
        self._notify()

    def _notify(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    def close(self) -> None:
        self._reading.cancel()
        self.writer.transport.abort()


def _settings(payload: bytes) -> Iterator[tuple[int, int]]:
    for at in range(0, len(payload), 6):
        yield int.from_bytes(payload[at : at + 2], "big"), int.from_bytes(payload[at + 2 : at + 6], "big")

"""An HTTP/1.1 connection for one stream of server-sent events, which costs less than any client library."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

_LINE_BYTES = 16 << 20


class StreamRefused(Exception):
    """The server refused the request, and says when to try again."""


async def stream_events(address: str, path: str, body: Any) -> AsyncGenerator[bytes]:
    """Yield the data of the events that answer a request to HOST:PORT.

    Raises:
        StreamRefused: The status is one that tells a client to retry.
    """
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=_LINE_BYTES)
    try:
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\nconnection: close\r\n"
        writer.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        status = int((await reader.readline()).split()[1])
        await reader.readuntil(b"\r\n\r\n")
        if status in (429, 503, 504):
            raise StreamRefused(status)
        assert status == 200, (status, (await reader.read())[:500])
        async for line in reader:
            if line.startswith(b"data: "):
                yield line[6:].strip()
    finally:
        writer.close()

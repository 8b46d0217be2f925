"""An HTTP/1.1 connection for JSON, which costs less than any client library: the load shares cores with the server."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Self


@dataclass
class JsonConnection:
    """A connection that is kept alive."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    host: str

    @classmethod
    async def open(cls, address: str) -> Self:
        """Connect to HOST:PORT."""
        host, _, port = address.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port)), address)

    async def post(self, path: str, body: Any) -> Any:
        """Return the answer to a request; its status has to be 200."""
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: {self.host}\r\ncontent-type: application/json\r\n"
        self.writer.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        answer = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        status, *lines = answer.split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines if line)
        received = await self.reader.readexactly(int(headers["content-length"]))
        assert " 200 " in status + " ", (status, received[:500])
        return json.loads(received)

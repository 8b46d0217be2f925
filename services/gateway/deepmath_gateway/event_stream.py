"""Server-sent events as a response, which closes their source however it ends."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Self

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

DONE = b"data: [DONE]\n\n"

_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}  # proxies are not to hold events back


class EventStream(StreamingResponse):
    """A response of events."""

    @classmethod
    async def start(cls, events: AsyncGenerator[bytes], media_type: str = "text/event-stream") -> Self:
        """Return the response once the first event is there: what fails before it has a status of its own.

        Raises whatever ends `events` before that.
        """
        try:
            first = await anext(events)
        except BaseException:
            await _close(events)
            raise
        return cls(_with_first(first, events), media_type=media_type, headers=_HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events. The client's end cancels this call."""
        del scope, receive
        try:
            await self.stream_response(send)
        finally:
            await _close(self.body_iterator)


def event_bytes(fields: Mapping[str, Any], name: str = "") -> bytes:
    """Return an event with JSON data."""
    data = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return (f"event: {name}\ndata: {data}\n\n" if name else f"data: {data}\n\n").encode()


async def _with_first(first: bytes, events: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(events):
        yield first
        async for event in events:
            yield event


async def _close(events: Any) -> None:
    if close := getattr(events, "aclose", None):
        await close()

"""The end of a request whose client has gone away, or reads nothing of the response."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deepmath_gateway.protocol_errors import ClientGone


class ClientPresence:
    """ASGI middleware that cancels the application when the client disconnects.

    The calls to generator and executor that the application waits for are cancelled with it. It stands behind
    `BodyLimit`: all that still comes from the client is its end. `send_seconds` is the time for the client to read what
    is sent while the connection's buffers are full.
    """

    def __init__(self, app: ASGIApp, *, send_seconds: float) -> None:
        self._app = app
        self._send_seconds = send_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application for a request, as long as its client is there."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(receive, send, self._send_seconds)
        answer = asyncio.create_task(self._answer(scope, request))
        watch = asyncio.create_task(request.watch())
        try:
            await asyncio.wait((answer, watch), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done() and not request.complete:
                raise ClientGone("the client has gone away")
            await answer
        finally:
            for task in (answer, watch):
                task.cancel()
            await asyncio.gather(answer, watch, return_exceptions=True)

    async def _answer(self, scope: Scope, request: "_Request") -> None:
        await self._app(scope, request.receive, request.send)


class _Request:
    """The two ends of one request."""

    def __init__(self, receive: Receive, send: Send, send_seconds: float) -> None:
        self._receive, self._send, self._send_seconds = receive, send, send_seconds
        self._body: asyncio.Queue[Message] = asyncio.Queue()
        self._gone = asyncio.Event()
        self.complete = False
        """Whether the response has been sent."""

    async def watch(self) -> None:
        """Receive for the application, and return when the client has disconnected."""
        while not self._gone.is_set():
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._gone.set()
            self._body.put_nowait(message)

    async def receive(self) -> Message:
        """Return the next message for the application."""
        if self._gone.is_set() and self._body.empty():
            return {"type": "http.disconnect"}
        return await self._body.get()

    async def send(self, message: Message) -> None:
        """Send a message, unless the client does not read."""
        try:
            async with asyncio.timeout(self._send_seconds):
                await self._send(message)
        except TimeoutError:
            self._gone.set()
            raise ClientGone(f"the client has not read for {self._send_seconds:g} s") from None
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.complete = True

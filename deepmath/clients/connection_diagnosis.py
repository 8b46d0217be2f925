"""What is behind the errors of a client that gets no connection."""

import asyncio
import time
from pathlib import Path

import grpc

from deepmath.clients.tls_diagnosis import refusal

_GOOD_FOR_S = 5.0
_NO_CONNECTION = "last error: "  # how gRPC begins to tell what the last attempt failed by
_CLEAR = ("Connection refused", "No such file", "DNS resolution")


class ConnectionDiagnosis:
    """Looks into what keeps a client from `target`, once in a while however many calls fail by it."""

    def __init__(self, target: str, folder: Path | None) -> None:
        self._target, self._folder = target, folder
        self._turn = asyncio.Lock()
        self._reason, self._until = "", 0.0

    async def behind(self, error: grpc.aio.AioRpcError) -> str:
        """Return what keeps the client from a connection and what to do; empty if that is not why a call failed."""
        details = error.details() or ""
        unavailable = error.code() is grpc.StatusCode.UNAVAILABLE
        if not unavailable or _NO_CONNECTION not in details or any(clear in details for clear in _CLEAR):
            return ""
        async with self._turn:
            if time.monotonic() > self._until:
                self._reason = await asyncio.to_thread(refusal, self._target, self._folder)
                self._until = time.monotonic() + _GOOD_FOR_S
            return self._reason

"""The health service, grpc.health.v1, with a limit on watchers: anyone may call it."""

import asyncio
from collections.abc import Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deepmath.errors import Overloaded

_SERVING, _NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
_MAX_WATCHERS = 64
_RETRY_MS = 10_000
_SEND_SECONDS = 5.0


class HealthService(health_pb2_grpc.HealthServicer):
    """Reports the same status for each of `services` and for the server as a whole."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = {"", *services}
        self._status: Any = _SERVING
        self._changed = asyncio.Event()  # the status changes once
        self._watchers = 0

    def report_not_serving(self) -> None:
        """Report NOT_SERVING from now on."""
        self._status = _NOT_SERVING
        self._changed.set()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> Any:  # noqa: N802
        """Return the status of a service."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return health_pb2.HealthCheckResponse(status=self._status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:  # noqa: N802
        """Send the status of a service, and again when it changes."""
        if self._watchers >= _MAX_WATCHERS:
            raise Overloaded(f"{_MAX_WATCHERS} clients watch the health of this service; use Check", _RETRY_MS)
        self._watchers += 1
        try:
            known = request.service in self._services
            await self._send(context, self._status if known else _UNKNOWN)
            await self._changed.wait()
            if known:
                await self._send(context, _NOT_SERVING)
            await asyncio.Event().wait()  # until the client ends the call, or the server stops
        finally:
            self._watchers -= 1

    async def _send(self, context: Any, status: Any) -> None:
        async with asyncio.timeout(_SEND_SECONDS):
            await context.write(health_pb2.HealthCheckResponse(status=status))

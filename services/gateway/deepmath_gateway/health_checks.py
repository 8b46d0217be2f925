"""Health of the gateway by HTTP: `/healthz` while it lives, `/readyz` while it accepts requests."""

from http import HTTPStatus

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from deepmath_gateway.metrics import GatewayMetrics


class HealthChecks:
    """ASGI middleware that answers health checks, which need no API key. Without an `app` it serves nothing else."""

    def __init__(self, app: ASGIApp | None = None, *, metrics: GatewayMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a health check, or pass the request on."""
        if scope["type"] == "http" and scope["path"] in ("/healthz", "/readyz"):
            ready = self._metrics.serving or scope["path"] == "/healthz"
            status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
            await PlainTextResponse("ok\n" if ready else "draining\n", status)(scope, receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            headers = {"connection": "close"}
            await PlainTextResponse("not found\n", HTTPStatus.NOT_FOUND, headers)(scope, receive, send)

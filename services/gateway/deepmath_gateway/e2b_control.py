"""E2B's control plane: the life of sandboxes, and refusals of what they do not have here.

Shapes: github.com/e2b-dev/E2B, spec/openapi.yml.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from starlette.responses import JSONResponse, Response

from deepmath.access.caller_identity import proven_name
from deepmath.errors import InvalidRequest, NotServed
from deepmath_gateway.api_keys import presented_key
from deepmath_gateway.e2b import PROTOCOL, E2bSandboxes, check_no_environment
from deepmath_gateway.owned_session import OwnedSession, UnknownSession
from deepmath_gateway.protocol_errors import HttpRefusal

_TEMPLATES = ("code-interpreter-v1", "base")
_CLIENT = "deepmath"
_ENVD_VERSION = "0.2.0"  # which decides what the SDK sends
_DEFAULT_S = 300
_METADATA_CHARACTERS = 4096
_NOT_SERVED = (
    "/files",
    "/process.Process/{call}",
    "/filesystem.Filesystem/{call}",
    "/sandboxes/{sandbox_id}/{operation}",
    "/v2/sandboxes/{sandbox_id}/{operation}",
    "/templates",
    "/v3/templates",
    "/volumes",
)

Seconds = Annotated[int, Field(ge=0)]


class NewSandbox(BaseModel):
    """A sandbox to create."""

    model_config = ConfigDict(alias_generator=to_camel, extra="allow")

    template_id: str = Field("code-interpreter-v1", alias="templateID")
    timeout: Seconds = _DEFAULT_S
    metadata: Mapping[str, str] = {}
    env_vars: Mapping[str, str] = {}
    auto_pause: bool = False
    mcp: Any = None
    iam: Any = None
    volume_mounts: list[Any] = []

    def check(self) -> None:
        """Check that the sandbox needs nothing that sandboxes do not have.

        Raises:
            InvalidRequest: It does.
            HttpRefusal: There is no such template.
        """
        if self.template_id not in _TEMPLATES:
            raise HttpRefusal(HTTPStatus.NOT_FOUND, f"template {self.template_id[:100]!r} not found")
        check_no_environment(self.env_vars)
        for name in ("auto_pause", "mcp", "iam", "volume_mounts"):
            if getattr(self, name):
                raise InvalidRequest(f"sandboxes here have no {name}; leave it out")
        if len(json.dumps(dict(self.metadata))) > _METADATA_CHARACTERS:
            raise InvalidRequest(f"metadata is over {_METADATA_CHARACTERS} characters")


class SandboxTimeout(BaseModel):
    """The time until a sandbox ends, in seconds."""

    timeout: Seconds = _DEFAULT_S


def router(sandboxes: E2bSandboxes) -> APIRouter:
    """Return the routes of the control plane."""
    api = APIRouter()

    @api.post("/sandboxes")
    @api.post("/v2/sandboxes")
    async def create(request: NewSandbox, http: Request) -> Response:
        request.check()
        sandbox = sandboxes.sessions.open(proven_name(), PROTOCOL, may_idle=True)
        sandbox.labels = request.metadata
        try:
            await sandboxes.run(sandbox, "")  # capacity is refused here, where the SDK retries
            sandboxes.live_for(sandbox, request.timeout)
        except BaseException:
            await sandboxes.kill(sandbox)
            raise
        return JSONResponse(_sandbox_json(sandbox, presented_key(http.headers)), HTTPStatus.CREATED)

    @api.get("/sandboxes")
    @api.get("/v2/sandboxes")
    async def list_sandboxes(metadata: str = "", state: str = "running") -> Any:
        wanted = dict(parse_qsl(metadata))
        owned = sandboxes.sessions.owned(proven_name(), PROTOCOL) if "running" in state.split(",") else []
        return [_detail_json(sandbox) for sandbox in owned if wanted.items() <= sandbox.labels.items()]

    @api.get("/sandboxes/{sandbox_id}")
    async def info(sandbox_id: str) -> Any:
        return _detail_json(_find(sandboxes, sandbox_id))

    @api.delete("/sandboxes/{sandbox_id}", status_code=HTTPStatus.NO_CONTENT)
    async def kill(sandbox_id: str) -> None:
        await sandboxes.kill(_find(sandboxes, sandbox_id))

    @api.post("/sandboxes/{sandbox_id}/timeout", status_code=HTTPStatus.NO_CONTENT)
    async def set_timeout(sandbox_id: str, request: SandboxTimeout) -> None:
        sandboxes.live_for(_find(sandboxes, sandbox_id), request.timeout)

    @api.post("/sandboxes/{sandbox_id}/connect")
    @api.post("/v2/sandboxes/{sandbox_id}/connect")
    async def connect(sandbox_id: str, request: SandboxTimeout, http: Request) -> Any:
        sandbox = _find(sandboxes, sandbox_id)
        if request.timeout > sandbox.seconds_left:
            sandboxes.live_for(sandbox, request.timeout)
        return _sandbox_json(sandbox, presented_key(http.headers))

    for path in _NOT_SERVED:
        api.add_api_route(path, _refuse, methods=["GET", "POST", "PUT", "DELETE"])
    return api


async def _refuse() -> None:
    raise NotServed("sandboxes here run Python only: they have no files, commands, snapshots or network")


def _find(sandboxes: E2bSandboxes, sandbox_id: str) -> OwnedSession:
    try:
        return sandboxes.sessions.find(proven_name(), PROTOCOL, sandbox_id)
    except UnknownSession:
        raise HttpRefusal(HTTPStatus.NOT_FOUND, f"sandbox {sandbox_id[:100]!r} not found") from None


def _sandbox_json(sandbox: OwnedSession, key: str) -> Mapping[str, Any]:
    """Return a sandbox for the client, which runs code without its API key: it presents the tokens of this answer."""
    shown = {
        "templateID": _TEMPLATES[0],
        "sandboxID": sandbox.key.session_id,
        "clientID": _CLIENT,
        "envdVersion": _ENVD_VERSION,
        "domain": None,
    }
    return shown | ({"envdAccessToken": key, "trafficAccessToken": key} if key else {})


def _detail_json(sandbox: OwnedSession) -> Mapping[str, Any]:
    return {
        **_sandbox_json(sandbox, ""),
        "startedAt": _date(sandbox.started),
        "endAt": _date(sandbox.started + sandbox.lifetime_s),
        "cpuCount": 1,
        "memoryMB": 0,
        "diskSizeMB": 0,
        "state": "running",
        "metadata": sandbox.labels,
    }


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()

"""The protocols of sandboxes, over one session manager, with the paths that two of them share."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header
from pydantic import Discriminator, Tag
from starlette.responses import JSONResponse, Response

from deepmath.access.tokens import Scope
from deepmath_gateway import e2b, e2b_control, nemo_skills, openenv, sandbox_fusion
from deepmath_gateway.e2b import E2bSandboxes
from deepmath_gateway.http_protocol import HttpProtocol
from deepmath_gateway.nemo_skills import NemoSkillsSandbox
from deepmath_gateway.owned_session import UnknownSession
from deepmath_gateway.permitted_limits import PermittedLimits
from deepmath_gateway.session_manager import SessionManager

_SCOPES: tuple[Scope, ...] = ("execute",)


def _dialect_of(body: Any) -> str:
    return nemo_skills.PROTOCOL if isinstance(body, dict) and "generated_code" in body else e2b.PROTOCOL


ExecuteBody = Annotated[
    Annotated[e2b.ExecutionRequest, Tag(e2b.PROTOCOL)]
    | Annotated[nemo_skills.ExecuteRequest, Tag(nemo_skills.PROTOCOL)],
    Discriminator(_dialect_of),
    Body(),
]
SessionId = Annotated[str, Header(alias="X-Session-ID")]


def executor_dialects(sessions: SessionManager) -> Iterator[HttpProtocol]:
    """Yield SandboxFusion's, E2B's, NeMo-Skills' and OpenEnv's protocols. The first has the lifespan of `sessions`."""
    permitted = PermittedLimits(sessions.executor)
    sandboxes, nemo = E2bSandboxes(sessions, permitted), NemoSkillsSandbox(sessions, permitted)
    fusion = sandbox_fusion.router(sessions, permitted)
    yield HttpProtocol("sandbox-fusion", _SCOPES, fusion, sandbox_fusion.error_form, lifespan=lambda: sessions)
    e2b_routes = e2b.router(sandboxes)
    e2b_routes.include_router(e2b_control.router(sandboxes))
    yield HttpProtocol("e2b", _SCOPES, e2b_routes, e2b.error_form)
    yield HttpProtocol("nemo-skills", _SCOPES, nemo_skills.router(nemo), nemo_skills.error_form)
    yield HttpProtocol("execute", _SCOPES, _shared_router(sandboxes, nemo), e2b.error_form)
    yield HttpProtocol("openenv", _SCOPES, openenv.router(sessions, permitted))


def _shared_router(sandboxes: E2bSandboxes, nemo: NemoSkillsSandbox) -> APIRouter:
    api = APIRouter()

    @api.post("/execute")
    async def execute(request: ExecuteBody, sandbox_id: e2b.SandboxId = "", session_id: SessionId = "") -> Response:
        if isinstance(request, nemo_skills.ExecuteRequest):
            return await nemo.execute(request, session_id)
        return await e2b.execute(sandboxes, request, sandbox_id)

    @api.get("/health")
    async def health(sandbox_id: e2b.SandboxId = "") -> Response:
        if not sandbox_id:
            return JSONResponse({"status": "healthy"})
        try:
            await sandboxes.find(sandbox_id)
        except UnknownSession:
            return e2b.unknown_sandbox(sandbox_id)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return api

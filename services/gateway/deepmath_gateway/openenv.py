"""OpenEnv: an environment that runs Python, one for each WebSocket connection.

The actions and observations are those of OpenEnv's coding environment. It grades nothing: the reward is null, never 0.
An infrastructure failure is an error, which OpenEnv's client raises; the variables are as before the step, which can be
tried again. Shapes: github.com/huggingface/OpenEnv, src/openenv/core/env_server.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from deepmath import __version__
from deepmath.access.caller_identity import proven_name
from deepmath.errors import DeepMathError, InvalidRequest, Overloaded
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath_gateway.json_text import check_json_text
from deepmath_gateway.owned_session import OwnedSession, SessionEnded, SnippetCall, UnknownSession
from deepmath_gateway.permitted_limits import PermittedLimits
from deepmath_gateway.session_manager import SessionManager
from deepmath_gateway.snippet_report import exit_status, program_stderr

PROTOCOL = "openenv"
_EXTRA_S = 30.0  # for the queue: the client waits for 60 s
_WATCH_S = 1.0
_MAX_WAITING = 16  # messages
_NORMAL, _POLICY_VIOLATION, _TRY_AGAIN_LATER = 1000, 1008, 1013  # status codes of a WebSocket's close


class CodeAction(BaseModel):
    """Code to run."""

    model_config = ConfigDict(extra="forbid")

    code: str
    metadata: dict[str, Any] = Field(default_factory=dict)


class CodeObservation(BaseModel):
    """What the code printed."""

    stdout: str = ""
    """With the value of the last expression at its end."""
    stderr: str = ""
    """With the traceback."""
    exit_code: int = 0
    """-9 if the code was killed."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """`outcome`, as the executor's contract names it, and `state_lost`: whether the variables are gone."""


class CodeState(BaseModel):
    """State of an episode."""

    episode_id: str | None = None
    step_count: int = 0
    last_exit_code: int = 0


class ResetOptions(BaseModel):
    """Options of a reset; others are ignored, as OpenEnv does."""

    seed: Annotated[int, Field(ge=0, lt=1 << 64)] | None = None
    episode_id: Annotated[str, Field(max_length=255)] | None = None


class CodeEnvironment:
    """The environment of one connection: a session, which a reset replaces."""

    def __init__(self, sessions: SessionManager, permitted: PermittedLimits) -> None:
        self._sessions, self._permitted = sessions, permitted
        self._session = self._open(0)
        self.state = CodeState()

    @property
    def is_over(self) -> bool:
        """Whether the session has reached its idle time or its lifetime."""
        return self._session.is_over

    async def reset(self, options: ResetOptions) -> CodeObservation:
        """Start an episode, without variables.

        Raises:
            Overloaded: There are too many sessions.
        """
        await self.close()
        self._session = self._open(options.seed or 0)
        self.state = CodeState(episode_id=options.episode_id)
        return CodeObservation()

    async def step(self, action: CodeAction) -> CodeObservation:
        """Run the code of an action. Raises what `OwnedSession.run` does."""
        limits = await self._permitted.fit()
        result = await self._session.run(SnippetCall(action.code, limits, limits.wall_ms / 1000 + _EXTRA_S))
        observation = CodeObservation(
            stdout=_stdout(result),
            stderr=program_stderr(result),
            exit_code=exit_status(result),
            metadata={
                "outcome": pb.Outcome.Name(result.outcome).removeprefix("OUTCOME_"),
                "state_lost": result.state_lost,
            },
        )
        self.state.step_count += 1
        self.state.last_exit_code = observation.exit_code
        return observation

    async def close(self) -> None:
        """End the session."""
        await self._sessions.close(self._session)

    def _open(self, seed: int) -> OwnedSession:
        return self._sessions.open(proven_name(), PROTOCOL, seed=seed)


class _Conversation:
    """The messages of one connection, answered in their order."""

    def __init__(self, socket: WebSocket, environment: CodeEnvironment) -> None:
        self._socket, self._environment = socket, environment
        self._received: asyncio.Queue[str | None] = asyncio.Queue(_MAX_WAITING)  # None: a message without text

    async def hold(self) -> None:
        """Answer messages until the client closes or goes away, which ends a step that runs.

        Raises:
            InvalidRequest: The client sends ever more messages without reading the answers.
            SessionEnded: The session has been idle for too long, or has reached its lifetime.
        """
        tasks = [asyncio.create_task(part) for part in (self._receive(), self._answer(), self._watch())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _receive(self) -> None:
        while (message := await self._socket.receive())["type"] != "websocket.disconnect":
            if self._received.full():
                raise InvalidRequest(f"{_MAX_WAITING} messages are waiting; send one at a time")
            self._received.put_nowait(message.get("text"))

    async def _watch(self) -> None:
        while not self._environment.is_over:  # noqa: ASYNC110 - only time ends it
            await asyncio.sleep(_WATCH_S)
        raise SessionEnded("the session ended: it was idle for too long, or has reached its lifetime")

    async def _answer(self) -> None:
        while (answer := await self._answer_to(await self._received.get())) is not None:
            await self._socket.send_json(answer)

    async def _answer_to(self, text: str | None) -> Mapping[str, Any] | None:
        """Return the answer to a message; None if it is the last one."""
        try:
            message = _message(text)
            kind, data = message.get("type"), message.get("data", {})
            match kind:
                case "reset":
                    return _observation(await self._environment.reset(ResetOptions.model_validate(data)))
                case "step":
                    return _observation(await self._environment.step(CodeAction.model_validate(data)))
                case "state":
                    return {"type": "state", "data": self._environment.state.model_dump()}
                case "close":
                    return None
            return _error("UNKNOWN_TYPE", "unknown message type; send reset, step, state or close")
        except ValueError as error:
            code = "VALIDATION_ERROR" if isinstance(error, ValidationError) else "INVALID_JSON"
            return _error(code, _reason(error))
        except DeepMathError as error:
            return _failure(error)


def router(sessions: SessionManager, permitted: PermittedLimits) -> APIRouter:
    """Return the routes of the environment."""
    api = APIRouter()

    @api.websocket("/ws")
    async def converse(socket: WebSocket) -> None:
        await socket.accept()
        status = _NORMAL
        with suppress(WebSocketDisconnect):
            try:
                environment = CodeEnvironment(sessions, permitted)
                try:
                    await _Conversation(socket, environment).hold()
                finally:
                    await environment.close()
            except DeepMathError as error:
                status = _TRY_AGAIN_LATER if isinstance(error, Overloaded) else _POLICY_VIOLATION
                await socket.send_json(_failure(error))
            await socket.close(status)

    @api.get("/schema")
    async def schema() -> Any:
        return {
            "action": CodeAction.model_json_schema(),
            "observation": CodeObservation.model_json_schema(),
            "state": CodeState.model_json_schema(),
        }

    @api.get("/metadata")
    async def metadata() -> Any:
        return {
            "name": "deepmath",
            "description": "Runs Python in a sandbox; variables live until the next reset.",
            "version": __version__,
        }

    return api


def _stdout(result: pb.SnippetResult) -> str:
    if not result.HasField("value"):
        return result.stdout
    separator = "\n" if result.stdout and not result.stdout.endswith("\n") else ""
    return f"{result.stdout}{separator}{result.value}\n"


def _message(text: str | None) -> dict[str, Any]:
    """Return a message.

    Raises:
        ValueError: It is not a JSON object.
        InvalidRequest: It nests too deeply, or is not valid Unicode.
    """
    if text is None:
        raise ValueError("send JSON as text")
    check_json_text(text.encode())
    message = json.loads(text)
    if not isinstance(message, dict):
        raise ValueError("send a JSON object")
    return message


def _observation(observation: CodeObservation) -> Mapping[str, Any]:
    data = {"observation": observation.model_dump(), "reward": None, "done": False}
    return {"type": "observation", "data": data | ({"metadata": observation.metadata} if observation.metadata else {})}


def _failure(error: DeepMathError) -> Mapping[str, Any]:
    match error:
        case Overloaded():
            return _error("CAPACITY_REACHED", str(error))
        case UnknownSession():
            return _error("SESSION_ERROR", str(error))
        case InvalidRequest():
            return _error("VALIDATION_ERROR", str(error))
    return _error("EXECUTION_ERROR", str(error))


def _error(code: str, message: str) -> Mapping[str, Any]:
    return {"type": "error", "data": {"message": message, "code": code}}


def _reason(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return f"invalid JSON: {error}"
    mistake = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, mistake["loc"]))[:100]
    return ": ".join(filter(None, (where, mistake["msg"])))

"""Tool server for the rollouts of a worker: `python`, in a session of an executor for each rollout."""

import asyncio
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field

import verifiers.v1 as vf

from deepmath.clients import ExecutorClient, ExecutorSession
from deepmath.dialects.call_code import python_source
from deepmath.dialects.result_text import render_result
from deepmath.errors import DeepMathError, InvalidRequest
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sdk.service_access import ServiceAccess, ServiceChoice

_IDLE_S = 900.0


class SandboxState(vf.State):
    """State of a rollout, which verifiers carries between its tool server and its task."""

    session: str = ""
    failure: str = ""
    """Infrastructure failure that has kept a call from its result."""


class PythonToolsetConfig(vf.SharedToolsetConfig):
    """Executor and limits of the code."""

    executor: str | None = None
    """Executor address. Default: that of the detached stack, or one that the tool server starts."""
    tls: str | None = None
    """Folder with tls.crt, tls.key and ca.crt. Default: DEEPMATH_TLS."""
    token_file: str | None = None
    """File with a token. Default: DEEPMATH_TOKEN_FILE."""
    wall_seconds: float = 20.0
    """Limit of one call."""
    patience_seconds: float = 60.0
    """Timeout for reaching an executor with capacity."""


@dataclass
class _RolloutSession:
    session: ExecutorSession
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    used: float = field(default_factory=time.monotonic)


class PythonToolset(vf.Toolset[PythonToolsetConfig, SandboxState]):
    """Runs Python. An infrastructure failure is noted in the rollout's state, for its task to raise."""

    TOOL_PREFIX = None

    async def setup(self) -> None:
        """Find or start the executor."""
        config = self.config
        choice = ServiceChoice(
            executor=config.executor,
            tls=config.tls,
            token_file=config.token_file,
            patience_s=config.patience_seconds,
        )
        access = await self._exit_stack.enter_async_context(ServiceAccess(choice))
        self._executor: ExecutorClient = await access.executor()
        self._limits = pb.Limits(wall_ms=max(1, round(1000 * config.wall_seconds)))
        self._sessions = OrderedDict[str, _RolloutSession]()  # the one used longest ago first

    @vf.tool
    async def python(self, code: str) -> str:
        """Run Python and return what it prints, followed by the value of its last expression. Variables are kept."""
        state = self.state
        if state.failure:
            return "Error: the sandbox is not available"
        rollout = await self._session_of(state)
        try:
            async with rollout.turn:
                return render_result(await rollout.session.run(python_source(code), self._limits))
        except InvalidRequest as error:  # a mistake of the model's: too long, or no Unicode
            return f"Error: {error}"
        except DeepMathError as error:
            state.failure = str(error)
            return "Error: the sandbox is not available"

    async def _session_of(self, state: SandboxState) -> _RolloutSession:
        """Return the session of a rollout, a new one if it has none; end those that no rollout has used for long."""
        now = time.monotonic()
        while self._sessions and now - next(iter(self._sessions.values())).used > _IDLE_S:
            _, idle = self._sessions.popitem(last=False)
            await idle.session.close()
        if state.session not in self._sessions:
            state.session = secrets.token_hex(16)
            self._sessions[state.session] = _RolloutSession(self._executor.session(session_id="verifiers"))
        rollout = self._sessions[state.session]
        rollout.used = now
        self._sessions.move_to_end(state.session)
        return rollout


if __name__ == "__main__":
    PythonToolset.run()

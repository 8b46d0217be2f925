"""The sessions of the gateway's clients, each of which only its owner can reach.

An id is looked up together with its owner, so another client's id is as unknown as one that never existed. Ids that the
gateway makes are random, 128 bits.
"""

import asyncio
import math
import secrets
from dataclasses import dataclass
from typing import Self

from deepmath.clients import ExecutorClient
from deepmath.errors import Overloaded
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.rpc.metadata import check_name
from deepmath_gateway.owned_session import OwnedSession, SessionKey, SnippetCall, UnknownSession, run_on

_SWEEP_S = 0.5


@dataclass(frozen=True)
class SessionLimits:
    """Limits of sessions."""

    max_sessions: int = 512
    """Of all owners."""
    max_sessions_per_owner: int = 256
    idle_s: float = 600.0
    """Time without a snippet after which a session ends."""
    lifetime_s: float = 3600.0
    history_characters: int = 8 << 20
    """Code and standard input of all snippets of a session."""


class SessionManager:
    """All sessions of one gateway. An asynchronous context manager, which ends them."""

    def __init__(self, executor: ExecutorClient, limits: SessionLimits | None = None) -> None:
        self.executor = executor
        self.limits = limits or SessionLimits()
        self._sessions: dict[SessionKey, OwnedSession] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._sweeper = asyncio.create_task(self._sweep())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sweeper:
            self._sweeper.cancel()
        for session in list(self._sessions.values()):
            await self.close(session)

    def __len__(self) -> int:
        return len(self._sessions)

    async def run_once(self, snippet: SnippetCall) -> pb.SnippetResult:
        """Run a snippet in a fresh sandbox and return its result. Raises what `run_on` does."""
        async with self.executor.session() as session:
            return await run_on(session, snippet)

    def open(
        self,
        owner: str,
        protocol: str,
        session_id: str = "",
        *,
        may_idle: bool = False,
        seed: int = 0,
    ) -> OwnedSession:
        """Return a new session; its sandbox opens with the first snippet.

        Args:
            owner: Name of the client.
            protocol: Namespace of the id.
            session_id: The client's own id, one that `find` does not know. Default: a random one.
            may_idle: Whether the session ends at the end of its lifetime only.
            seed: Seed of `random` and `numpy.random` in the sandbox.

        Raises:
            InvalidRequest: `session_id` is too long or not printable ASCII.
            Overloaded: The owner, or all owners together, have as many sessions as they may.
        """
        check_name(session_id, "session id")
        self._check_quota(owner)
        key = SessionKey(owner, protocol, session_id or secrets.token_hex(16))
        name_in_logs = f"{protocol.partition(' ')[0]}-{secrets.token_hex(4)}"  # an id is the key to its session
        limits = self.limits
        session = self._sessions[key] = OwnedSession(
            key,
            new_executor_session=lambda: self.executor.session(seed, name_in_logs),
            lifetime_s=limits.lifetime_s,
            idle_s=math.inf if may_idle else limits.idle_s,
            history_characters=limits.history_characters,
        )
        return session

    def find(self, owner: str, protocol: str, session_id: str) -> OwnedSession:
        """Return the owner's session of this id.

        Raises:
            UnknownSession: The owner has none.
        """
        session = self._sessions.get(SessionKey(owner, protocol, session_id))
        if session is None or session.is_over:
            raise UnknownSession("no such session, or it has ended")
        return session

    async def find_or_open(self, owner: str, protocol: str, session_id: str) -> OwnedSession:
        """Return the owner's session of an id that the client chose, a new one if there is none.

        Raises:
            InvalidRequest: `session_id` is too long or not printable ASCII.
            Overloaded: As for `open`.
        """
        session = self._sessions.get(SessionKey(owner, protocol, session_id))
        if session and session.is_over:
            await self.close(session)
            session = self._sessions.get(session.key)  # another request may have been faster
        return session or self.open(owner, protocol, session_id)

    def owned(self, owner: str, protocol: str) -> list[OwnedSession]:
        """Return the owner's sessions, the oldest first."""
        return [
            session
            for key, session in self._sessions.items()
            if (key.owner, key.protocol) == (owner, protocol) and not session.is_over
        ]

    async def close(self, session: OwnedSession) -> None:
        """End a session."""
        if self._sessions.get(session.key) is session:
            del self._sessions[session.key]
        await session.close()

    def _check_quota(self, owner: str) -> None:
        if len(self._sessions) >= self.limits.max_sessions:
            raise Overloaded(f"the gateway has {len(self._sessions)} sessions, which is its limit")
        owned = sum(key.owner == owner for key in self._sessions)
        if owned >= self.limits.max_sessions_per_owner:
            name = owner or "this client"
            raise Overloaded(f"{name} has {owned} sessions, which is its limit; end some")

    async def _sweep(self) -> None:
        """End the sessions whose time is over."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            for session in [session for session in self._sessions.values() if session.is_over]:
                await self.close(session)

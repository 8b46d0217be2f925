"""A session of a client of the gateway: snippets that share variables, on an executor session."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from deepmath.clients import ExecutorSession, OutputHandler
from deepmath.errors import DeepMathError, Forbidden, InvalidRequest, Overloaded, Unauthenticated, Unavailable
from deepmath.executor.v1 import executor_pb2 as pb

_MAX_WAITING = 16  # snippets of one session


class UnknownSession(DeepMathError):
    """The caller has no session of this id: it never existed, has ended, or is another's."""


class SessionEnded(UnknownSession):
    """The session ended, or was restarted, while a snippet ran or waited."""


@dataclass(frozen=True)
class SnippetCall:
    """A snippet to run."""

    code: str
    limits: pb.Limits
    deadline_s: float
    """Time for everything: an executor, the queue, replays and the run."""
    stdin: str = ""
    on_output: OutputHandler | None = None
    """Receives the output while the snippet runs."""

    @property
    def size(self) -> int:
        """Characters of code and standard input."""
        return len(self.code) + len(self.stdin)


class SessionKey(NamedTuple):
    """The owner of a session, the protocol that it belongs to, and its id."""

    owner: str
    protocol: str
    session_id: str


@dataclass(eq=False)
class OwnedSession:
    """A session of a client. It runs one snippet at a time; others wait.

    Its snippets are kept for a replay on another executor, so their size is limited.
    """

    key: SessionKey
    new_executor_session: Callable[[], ExecutorSession]
    lifetime_s: float
    idle_s: float
    history_characters: int
    """Code and standard input of all its snippets."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Texts of the client about the session."""
    started: float = field(default_factory=time.time)
    """Unix time."""
    used: float = field(default_factory=time.time)
    """Unix time of the last start or end of a snippet."""
    snippets: int = 0
    """Number of snippets that have run."""
    is_fresh: bool = True
    """Whether its variables do not exist: no snippet has run, or they were lost."""

    def __post_init__(self) -> None:
        self._executor_session = self.new_executor_session()
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[object]] = set()
        self._stopped: set[asyncio.Task[object]] = set()
        self._size = 0
        self._born = self._touched = time.monotonic()
        self._ended = False

    @property
    def seconds_left(self) -> float:
        """Time until its lifetime ends."""
        return max(0.0, self._born + self.lifetime_s - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether its lifetime or its idle time has passed."""
        is_idle = not self._tasks and time.monotonic() - self._touched > self.idle_s
        return self._ended or is_idle or not self.seconds_left

    def live_for(self, seconds: float) -> None:
        """Let the lifetime end `seconds` from now."""
        self.lifetime_s = time.monotonic() - self._born + seconds

    async def run(self, snippet: SnippetCall) -> pb.SnippetResult:
        """Run a snippet and return its result.

        Raises:
            InvalidRequest: The executor rejected the snippet, or the session's snippets would become too large.
            Overloaded: Too many snippets of the session are waiting, or no executor had capacity in time.
            SessionEnded: The session ended or was restarted meanwhile.
            Unavailable: No executor ran the snippet.
        """
        with self._in_flight():
            async with self._lock:
                return await self._run(snippet)

    async def close(self) -> None:
        """End the session: its sandbox is killed, and snippets that run or wait raise SessionEnded."""
        self._ended = True
        await self._stop(self._executor_session)

    async def restart(self) -> None:
        """Continue without the variables; snippets that run or wait raise SessionEnded."""
        stopped, self._executor_session = self._executor_session, self.new_executor_session()
        self.snippets, self.is_fresh, self._size = 0, True, 0
        await self._stop(stopped)

    async def _run(self, snippet: SnippetCall) -> pb.SnippetResult:
        if self._size + snippet.size > self.history_characters:
            raise InvalidRequest(
                f"the code of the session exceeds {self.history_characters} characters in all; open a new session"
            )
        result = await run_on(self._executor_session, snippet)
        self.snippets += 1
        self.is_fresh = result.state_lost
        self._size = 0 if result.state_lost else self._size + snippet.size
        return result

    async def _stop(self, executor_session: ExecutorSession) -> None:
        self._stopped |= self._tasks
        for task in self._tasks:
            task.cancel()
        await executor_session.close()

    @contextmanager
    def _in_flight(self) -> Iterator[None]:
        """Register the current task for the block, so that `close` and `restart` can stop it."""
        if self._ended:
            raise SessionEnded("the session has ended")
        if len(self._tasks) >= _MAX_WAITING:
            raise Overloaded(f"{_MAX_WAITING} snippets of the session are waiting; run one at a time")
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._touch()
        try:
            yield
        except asyncio.CancelledError:
            if task in self._stopped and not task.uncancel():  # not cancelled by its client as well
                raise SessionEnded("the session ended, or was restarted, while the snippet ran") from None
            raise
        finally:
            self._tasks.discard(task)
            self._stopped.discard(task)
            self._touch()

    def _touch(self) -> None:
        self._touched, self.used = time.monotonic(), time.time()


async def run_on(session: ExecutorSession, snippet: SnippetCall) -> pb.SnippetResult:
    """Run a snippet on an executor session, and return its result.

    Raises:
        InvalidRequest: The executor rejected it.
        Overloaded: No executor had capacity, or there was no result, within the snippet's deadline.
        Unavailable: No executor could run it.
    """
    try:
        async with asyncio.timeout(snippet.deadline_s):
            return await session.run(snippet.code, snippet.limits, stdin=snippet.stdin, on_output=snippet.on_output)
    except TimeoutError:
        raise Overloaded(f"no result within {snippet.deadline_s:g} s: the executors are busy") from None
    except Unavailable as error:
        if isinstance(error.__cause__, Overloaded):
            raise error.__cause__ from None
        raise
    except (Unauthenticated, Forbidden) as error:  # of the gateway, which its client can do nothing about
        raise Unavailable(f"the executor refuses the gateway: {error}") from None

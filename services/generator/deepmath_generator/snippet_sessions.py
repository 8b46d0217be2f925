"""Executor sessions of trajectories: each trajectory runs its snippets in a session of its own, opened at the first."""

from collections.abc import Callable

from deepmath.clients import ExecutorClient, ExecutorSession
from deepmath.errors import DeepMathError, Unavailable
from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.observability import tracing
from deepmath_generator.metrics import GeneratorMetrics

_MAX_CODE_BYTES = 256 << 10  # limit of the executor's contract


class SnippetSessions:
    """Opens the sessions of one service and counts their running snippets in `executing`."""

    def __init__(self, client: ExecutorClient | None, output_bytes: int, metrics: GeneratorMetrics) -> None:
        self.client = client
        self.output_bytes = output_bytes
        self.metrics = metrics
        self.executing = 0

    def session(self, seed: int, on_note: Callable[[str], None]) -> "SnippetSession":
        """Return a session whose random generators have `seed`; `on_note` receives notes about lost executors."""
        return SnippetSession(self, seed, on_note)


class SnippetSession:
    """The session of one trajectory."""

    def __init__(self, sessions: SnippetSessions, seed: int, on_note: Callable[[str], None]) -> None:
        self._sessions = sessions
        self._seed, self._on_note = seed, on_note
        self._session: ExecutorSession | None = None

    async def run(self, code: str, wall_ms: int) -> executor.SnippetResult:
        """Run a snippet with a limit of `wall_ms` milliseconds.

        Raises:
            DeepMathError: No executor ran the snippet.
        """
        if "\0" in code or len(code.encode()) > _MAX_CODE_BYTES:
            return rejected_call(f"the limit for a snippet is {_MAX_CODE_BYTES} bytes, none of them NUL")
        self._sessions.executing += 1
        try:
            if self._session is None:
                self._session = self._open()
            limits = executor.Limits(wall_ms=wall_ms, output_bytes=self._sessions.output_bytes)
            return await self._run(self._session, code, limits)
        finally:
            self._sessions.executing -= 1

    async def close(self) -> None:
        """Close the session and its sandbox, if it was opened."""
        if self._session:
            await self._session.close()

    def _open(self) -> ExecutorSession:
        if self._sessions.client is None:
            raise Unavailable("the generator has no executor; start it with --executor ADDRESS")
        return self._sessions.client.session(self._seed, on_note=self._on_note)

    async def _run(self, session: ExecutorSession, code: str, limits: executor.Limits) -> executor.SnippetResult:
        losses, metrics = session.losses, self._sessions.metrics
        with tracing.span("snippet", kind="client") as span, metrics.snippet_time():
            try:
                result = await session.run(code, limits)
            except DeepMathError:
                metrics.record_executor_failure(session.losses - losses)
                raise
            metrics.record_snippet(result, session.losses - losses)
            span.set(outcome=executor.Outcome.Name(result.outcome).removeprefix("OUTCOME_").lower())
        return result


def rejected_call(reason: str) -> executor.SnippetResult:
    """Return the result of a call that no executor runs: the model's error, not a failure."""
    exception = executor.SnippetException(type="ValueError", message=reason)
    return executor.SnippetResult(outcome=executor.OUTCOME_EXCEPTION, exception=exception)

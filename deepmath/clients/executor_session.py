"""A session that outlives the executor it runs on.

A snippet has no effect outside its sandbox, so running it again is always safe. If an executor dies, lacks capacity or
ends the session, the session's snippets are replayed on another one, in order, with the same limits and seed, and the
current snippet runs there. A snippet whose sandbox failed (OUTCOME_SANDBOX_FAILED) is also run elsewhere, so that no
caller mistakes an infrastructure failure for the snippet's own. Anything that an executor rejects as invalid would be
rejected again, and is raised at once.

Host calls have effects outside the sandbox and are never made twice: each result is recorded, and a replayed snippet
receives the recorded results in order. A snippet that makes different calls when replayed ends the session with
ReplayDiverged.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple, Self

from deepmath.clients.backoff import pauses
from deepmath.clients.executor_stream import ExecutorStream, SandboxFailed
from deepmath.clients.host_functions import HostCallReplayer, HostFunction
from deepmath.clients.snippet_output import OutputHandler, SnippetOutputRelay
from deepmath.errors import DeepMathError, InvalidRequest, Overloaded, Unavailable
from deepmath.executor.v1 import executor_pb2 as pb

_MAX_SANDBOX_FAILURES = 3  # for one snippet, which may be their cause


class _ReplayStep(NamedTuple):
    """A snippet that a new sandbox has to run to restore the variables, and its original outcome."""

    snippet: pb.RunSnippet
    outcome: pb.Outcome.ValueType
    host: HostCallReplayer


class ExecutorSession:
    """Snippets that share variables. An asynchronous context manager; one `run` at a time."""

    def __init__(
        self,
        new_stream: Callable[[], ExecutorStream],
        patience_s: float,
        opening: pb.OpenSession,
        on_note: Callable[[str], None],
    ) -> None:
        self._new_stream = new_stream
        self._patience_s = patience_s
        self._opening = opening
        self._on_note = on_note
        self._stream: ExecutorStream | None = None
        self._digest = ""
        self._history: list[_ReplayStep] = []
        self.losses = 0
        """Executors lost after they had opened the session."""
        self._last_failure = ""  # of the current snippet

    async def run(
        self,
        code: str,
        limits: pb.Limits | None = None,
        deadline_s: float | None = None,
        *,
        stdin: str = "",
        host_functions: Mapping[str, HostFunction] | None = None,
        host_call_s: float = 0.0,
        host_calls: int = 0,
        value_format: pb.ValueFormat.ValueType = pb.VALUE_FORMAT_UNSPECIFIED,
        on_output: OutputHandler | None = None,
    ) -> pb.SnippetResult:
        """Run a snippet and return its result, whose outcome is never OUTCOME_SANDBOX_FAILED.

        `deadline_s` bounds everything, queueing and replays included. Without it, the client's patience bounds the
        search for an executor, and the limits bound the run. After an error or a cancellation the session is in the
        state before the snippet and remains usable.

        `stdin` is the snippet's standard input; a later snippet does not see what this one leaves unread.

        `host_functions` are the functions of this process that the snippet may call, by name; `host_call_s` is the time
        to answer each call, and `host_calls` the maximum number of calls (0: the executor's default). `value_format` is
        the encoding of the result's value.

        `on_output` receives the snippet's output in parts, as far as possible while it runs: the name of the text and
        the part. Before `run` returns it has received all of the result's `stdout` and `stderr`. A snippet that ran
        again on another executor and wrote another text is the exception: the new text follows the old one, on a new
        line. An exception of `on_output` ends the run like a cancellation.

        Raises:
            InvalidRequest: The code or the standard input is not valid text, or the executor rejected one of them, the
                limits or the host functions.
            ReplayDiverged: The session or the snippet was replayed and made different host calls.
            Unavailable: No executor ran the snippet within the client's patience or `deadline_s`.
        """
        host = HostCallReplayer(host_functions or {}, host_call_s, host_calls)
        _check_text("code", code)
        _check_text("stdin", stdin)
        snippet = pb.RunSnippet(code=code, limits=limits, host=host.offer, value_format=value_format, stdin=stdin)
        relay = SnippetOutputRelay(on_output) if on_output else None
        self._last_failure = ""
        try:
            async with asyncio.timeout(deadline_s):
                patience_s = self._patience_s if deadline_s is None else deadline_s
                result = await self._run_with_failover(snippet, host, relay, patience_s)
        except TimeoutError:
            await self.close()
            raise Unavailable(
                f"no executor ran the snippet within its deadline of {deadline_s:g} s{self._last_failure}"
            ) from None
        except BaseException:  # a stream abandoned during a snippet cannot be reused
            await self.close()
            raise
        if result.state_lost:
            self._history.clear()
        else:
            self._history.append(_ReplayStep(snippet, result.outcome, host))
        if relay:
            relay.finish(result)
        return result

    async def close(self) -> None:
        """End the stream, which kills the sandbox. The next `run` replays the session in a new one."""
        if self._stream:
            self._stream.close()
            self._stream = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run_with_failover(
        self, snippet: pb.RunSnippet, host: HostCallReplayer, relay: SnippetOutputRelay | None, patience_s: float
    ) -> pb.SnippetResult:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + patience_s
        backoff = pauses()
        failures = 0
        while True:
            try:
                stream = self._stream or await self._open()
                result = await stream.run(snippet, host.start_run(), relay.start_run() if relay else None)
                host.finish_run()
                return result
            except (Unavailable, Overloaded) as error:
                await self._abandon(error)
                failures += isinstance(error, SandboxFailed)
                pause = next(backoff)
                if isinstance(error, Overloaded):
                    pause = max(pause, error.retry_after_ms / 1000)
                if failures == _MAX_SANDBOX_FAILURES:
                    raise Unavailable(f"no executor ran the snippet in {failures} attempts: {error}") from error
                if loop.time() + pause > give_up:
                    raise Unavailable(f"no executor ran the snippet in {patience_s:g} s: {error}") from error
            await asyncio.sleep(pause)

    async def _open(self) -> ExecutorStream:
        """Open the session on an executor and replay its snippets there."""
        self._stream = stream = self._new_stream()
        digest = await stream.open(self._opening)
        if self._history and digest != self._digest:
            self._on_note("the session continues with other versions of Python or its libraries: results may differ")
        self._digest = digest
        for number, step in enumerate(self._history, start=1):
            await self._replay(stream, number, step)
        return stream

    async def _replay(self, stream: ExecutorStream, number: int, step: _ReplayStep) -> None:
        try:
            result = await stream.run(step.snippet, step.host.start_run(replay=True))
        except InvalidRequest as error:  # this executor has other limits, which says nothing about the current snippet
            raise Unavailable(f"snippet {number} was rejected when it was replayed: {error}") from error
        if result.state_lost:
            raise Unavailable(f"snippet {number} ended with {_name(result.outcome)} when it was replayed")
        step.host.finish_run()
        if result.outcome != step.outcome:
            self._on_note(
                f"snippet {number} ended with {_name(result.outcome)} when it was replayed, "
                f"and with {_name(step.outcome)} before"
            )

    async def _abandon(self, error: DeepMathError) -> None:
        self._last_failure = f": {error}"
        if self._stream and self._stream.sequence > 0:  # it had opened the session
            self.losses += 1
            replay = f"; replaying {len(self._history)} snippets" if self._history else ""
            self._on_note(f"executor lost ({error}){replay} on another")
        await self.close()


def _check_text(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        character = f"U+{ord(text[error.start]):04X}, at character {error.start}"
        raise InvalidRequest(f"{name} has a lone surrogate, {character}: not valid Unicode") from None


def _name(outcome: pb.Outcome.ValueType) -> str:
    return pb.Outcome.Name(outcome).removeprefix("OUTCOME_")

"""A session that outlives the executor that it runs on.

A snippet can do nothing outside of its sandbox, so that it is always safe to run it again. When an executor dies, has
no room or ends the session, the session's snippets are replayed on another, in order, under the same limits and with
the same seed, and the snippet under way is run there. A snippet that an executor failed on (OUTCOME_SANDBOX_FAILED) is
run elsewhere too, so that no caller ever mistakes our failure for the snippet's. What an executor refuses it would
refuse again: that is raised at once.

What a snippet does by host calls is done outside, and never done twice: each answer is kept, and a snippet that runs
again is given the same ones in the same order. One that then calls something else is given up.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple, Self

from deepmath.clients.backoff import pauses
from deepmath.clients.executor_stream import ExecutorStream, SandboxFailed
from deepmath.clients.host_functions import Host, HostFunction
from deepmath.errors import DeepMathError, InvalidRequest, Overloaded, Unavailable
from deepmath.executor.v1 import executor_pb2 as pb

_MOST_FAILURES = 3  # of sandboxes under one snippet: it may be what kills them


class _Step(NamedTuple):
    """A snippet that a new sandbox needs to run to hold the same variables, and how it ended."""

    snippet: pb.RunSnippet
    outcome: pb.Outcome.ValueType
    host: Host


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
        self._history: list[_Step] = []
        self.losses = 0
        """Executors that had taken the session and were lost."""
        self._trouble = ""  # what the last attempt at the snippet under way failed by

    async def run(
        self,
        code: str,
        limits: pb.Limits | None = None,
        deadline_s: float | None = None,
        *,
        host_functions: Mapping[str, HostFunction] | None = None,
        host_call_s: float = 0.0,
        host_calls: int = 0,
        value_format: pb.ValueFormat.ValueType = pb.VALUE_FORMAT_UNSPECIFIED,
    ) -> pb.SnippetResult:
        """Run a snippet and return its result, whose outcome is never OUTCOME_SANDBOX_FAILED.

        `deadline_s` bounds all of it, queue and replays too. Without it, looking for an executor is bounded by the
        client's patience, and running by the limits. After an error or a cancellation the session can be used again:
        it is as it was before the snippet.

        `host_functions` are what the snippet may call in this process, by name; `host_call_s` is the time to answer
        each call, and `host_calls` how many it may make (0: the executor's default). `value_format` says how the
        result's value is written.

        Raises:
            InvalidRequest: the code is no text, or the executor refuses it, the limits or the host functions.
            ReplayDiverged: the session, or the snippet, had to run again and called something else than before.
            Unavailable: no executor ran it within the client's patience or `deadline_s`.
        """
        host = Host(host_functions or {}, host_call_s, host_calls)
        snippet = _snippet(code, limits, host, value_format)
        self._trouble = ""
        try:
            async with asyncio.timeout(deadline_s):
                patience_s = self._patience_s if deadline_s is None else deadline_s
                result = await self._run_somewhere(snippet, host, patience_s)
        except TimeoutError:
            await self.close()
            raise Unavailable(
                f"no executor ran the snippet by its deadline of {deadline_s:g} s{self._trouble}"
            ) from None
        except BaseException:  # a stream that was left in the midst of a snippet is of no use
            await self.close()
            raise
        if result.state_lost:
            self._history.clear()
        else:
            self._history.append(_Step(snippet, result.outcome, host))
        return result

    async def close(self) -> None:
        """End the session: its sandbox is killed. It may be used again, and is then replayed in a new one."""
        if self._stream:
            self._stream.close()
            self._stream = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run_somewhere(self, snippet: pb.RunSnippet, host: Host, patience_s: float) -> pb.SnippetResult:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + patience_s
        again = pauses()
        failures = 0
        while True:
            try:
                stream = self._stream or await self._open()
                result = await stream.run(snippet, host.begin())
                host.end()
                return result
            except (Unavailable, Overloaded) as error:
                await self._leave(error)
                failures += isinstance(error, SandboxFailed)
                pause = next(again)
                if isinstance(error, Overloaded):
                    pause = max(pause, error.retry_after_ms / 1000)
                if failures == _MOST_FAILURES:
                    raise Unavailable(f"no executor ran the snippet in {failures} attempts: {error}") from error
                if loop.time() + pause > give_up:
                    raise Unavailable(f"no executor ran the snippet in {patience_s:g} s: {error}") from error
            await asyncio.sleep(pause)

    async def _open(self) -> ExecutorStream:
        """Open the session on an executor and bring it to where it was."""
        self._stream = stream = self._new_stream()
        digest = await stream.open(self._opening)
        if self._history and digest != self._digest:
            self._on_note("the session goes on under other versions of Python or its libraries: results may differ")
        self._digest = digest
        for place, step in enumerate(self._history, start=1):
            await self._replay(stream, place, step)
        return stream

    async def _replay(self, stream: ExecutorStream, place: int, step: _Step) -> None:
        try:
            result = await stream.run(step.snippet, step.host.begin(again=True))
        except (
            InvalidRequest
        ) as error:  # another executor may have other limits: not the fault of the snippet under way
            raise Unavailable(f"snippet {place} was refused when it was replayed: {error}") from error
        if result.state_lost:
            raise Unavailable(f"snippet {place} ended with {_name(result.outcome)} when it was replayed")
        step.host.end()
        if result.outcome != step.outcome:
            self._on_note(
                f"snippet {place} ended with {_name(result.outcome)} when it was replayed, "
                f"and with {_name(step.outcome)} before"
            )

    async def _leave(self, error: DeepMathError) -> None:
        self._trouble = f": {error}"
        if self._stream and self._stream.sequence > 0:  # it had taken us: worth telling
            self.losses += 1
            replayed = f"; replaying {len(self._history)} snippets" if self._history else ""
            self._on_note(f"executor lost ({error}){replayed} on another")
        await self.close()


def _snippet(code: str, limits: pb.Limits | None, host: Host, value_format: pb.ValueFormat.ValueType) -> pb.RunSnippet:
    try:
        return pb.RunSnippet(code=code, limits=limits, host=host.offer, value_format=value_format)
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            f"code has a lone surrogate, U+{ord(code[error.start]):04X}, at character {error.start}: it is no text"
        ) from None


def _name(outcome: pb.Outcome.ValueType) -> str:
    return pb.Outcome.Name(outcome).removeprefix("OUTCOME_")

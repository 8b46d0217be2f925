"""A session that outlives the executor that it runs on.

A snippet can do nothing outside of its sandbox, so that it is always safe to run it again. When an executor dies, has
no room or ends the session, the session's snippets are replayed on another, in order, under the same limits and with
the same seed, and the snippet under way is run there. A snippet that an executor failed on (OUTCOME_SANDBOX_FAILED) is
run elsewhere too, so that no caller ever mistakes our failure for the snippet's. What an executor refuses it would
refuse again: that is raised at once.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Self

from deepmath.clients.backoff import pauses
from deepmath.clients.executor_stream import ExecutorStream, Metadata, SandboxFailed
from deepmath.errors import DeepMathError, InvalidRequest, Overloaded, Unavailable
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.executor.v1 import executor_pb2_grpc as rpc

_MOST_FAILURES = 3  # of sandboxes under one snippet: it may be what kills them


class _Step(NamedTuple):
    """A snippet that a new sandbox needs to run to hold the same variables, and how it ended."""

    snippet: pb.RunSnippet
    outcome: pb.Outcome.ValueType


class ExecutorSession:
    """Snippets that share variables. An asynchronous context manager; one `run` at a time."""

    def __init__(
        self,
        stub: rpc.ExecutorServiceStub,
        metadata: Metadata,
        patience_s: float,
        opening: pb.OpenSession,
        on_note: Callable[[str], None],
    ) -> None:
        self._stub = stub
        self._metadata = metadata
        self._patience_s = patience_s
        self._opening = opening
        self._on_note = on_note
        self._stream: ExecutorStream | None = None
        self._digest = ""
        self._history: list[_Step] = []
        self._trouble = ""  # what the last attempt at the snippet under way failed by

    async def run(
        self, code: str, limits: pb.Limits | None = None, deadline_s: float | None = None
    ) -> pb.SnippetResult:
        """Run a snippet and return its result, whose outcome is never OUTCOME_SANDBOX_FAILED.

        `deadline_s` bounds all of it, queue and replays too. Without it, looking for an executor is bounded by the
        client's patience, and running by the limits. After an error or a cancellation the session can be used again:
        it is as it was before the snippet.

        Raises:
            InvalidRequest: the code is no text, or the executor refuses it or the limits.
            Unavailable: no executor ran it within the client's patience or `deadline_s`.
        """
        snippet = _snippet(code, limits)
        self._trouble = ""
        try:
            async with asyncio.timeout(deadline_s):
                result = await self._run_somewhere(snippet, self._patience_s if deadline_s is None else deadline_s)
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
            self._history.append(_Step(snippet, result.outcome))
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

    async def _run_somewhere(self, snippet: pb.RunSnippet, patience_s: float) -> pb.SnippetResult:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + patience_s
        again = pauses()
        failures = 0
        while True:
            try:
                stream = self._stream or await self._open()
                return await stream.run(snippet)
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
        self._stream = stream = ExecutorStream(self._stub, self._metadata)
        digest = await stream.open(self._opening)
        if self._history and digest != self._digest:
            self._on_note("the session goes on under other versions of Python or its libraries: results may differ")
        self._digest = digest
        for place, step in enumerate(self._history, start=1):
            await self._replay(stream, place, step)
        return stream

    async def _replay(self, stream: ExecutorStream, place: int, step: _Step) -> None:
        try:
            result = await stream.run(step.snippet)
        except (
            InvalidRequest
        ) as error:  # another executor may have other limits: not the fault of the snippet under way
            raise Unavailable(f"snippet {place} was refused when it was replayed: {error}") from error
        if result.state_lost:
            raise Unavailable(f"snippet {place} ended with {_name(result.outcome)} when it was replayed")
        if result.outcome != step.outcome:
            self._on_note(
                f"snippet {place} ended with {_name(result.outcome)} when it was replayed, "
                f"and with {_name(step.outcome)} before"
            )

    async def _leave(self, error: DeepMathError) -> None:
        self._trouble = f": {error}"
        if self._stream and self._stream.sequence > 0:  # it had taken us: worth telling
            replayed = f"; replaying {len(self._history)} snippets" if self._history else ""
            self._on_note(f"executor lost ({error}){replayed} on another")
        await self.close()


def _snippet(code: str, limits: pb.Limits | None) -> pb.RunSnippet:
    try:
        return pb.RunSnippet(code=code, limits=limits)
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            f"code has a lone surrogate, U+{ord(code[error.start]):04X}, at character {error.start}: it is no text"
        ) from None


def _name(outcome: pb.Outcome.ValueType) -> str:
    return pb.Outcome.Name(outcome).removeprefix("OUTCOME_")

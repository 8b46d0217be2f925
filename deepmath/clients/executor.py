"""Client of the executor service.

A session outlives the sandbox that it runs in: when an executor dies, the session's snippets are replayed on another,
in order, with the same seed, and the snippet under way is run there. A snippet that an executor failed on
(OUTCOME_SANDBOX_FAILED) is run elsewhere too, so that no caller ever mistakes our failure for the snippet's.
"""

import asyncio
from collections.abc import Callable
from typing import Self

import grpc

from deepmath.clients.client import Client
from deepmath.errors import DeepMathError, Overloaded, Unavailable, from_rpc
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.executor.v1 import executor_pb2_grpc as rpc

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0
_QUEUE_PATIENCE_S = 120.0  # over a snippet's own limit, before an executor that says nothing is taken for dead

_Stream = grpc.aio.StreamStreamCall[pb.SessionRequest, pb.SessionResponse]


class ExecutorClient(Client):
    """A channel to one or many executors.

    `patience_s` is how long a session looks for an executor that takes it before it raises Unavailable.
    """

    service = "executor"

    def __init__(self, target: str, patience_s: float = 60.0) -> None:
        super().__init__(target)
        self.patience_s = patience_s
        self.stub = rpc.ExecutorServiceStub(self.channel)

    def session(
        self, seed: int = 0, session_id: str = "", on_note: Callable[[str], None] | None = None
    ) -> "ExecutorSession":
        """Return a session; it opens with its first snippet. `on_note` is told of each executor lost and replaced."""
        return ExecutorSession(self, pb.OpenSession(seed=seed, session_id=session_id), on_note or (lambda _: None))

    async def execute(self, code: str, limits: pb.Limits | None = None, seed: int = 0) -> pb.SnippetResult:
        """Run one snippet in a sandbox of its own and return its result.

        Raises:
            InvalidRequest: the executor refuses the code or the limits.
            Unavailable: no executor took it within `patience_s`.
        """
        async with self.session(seed) as session:
            return await session.run(code, limits)

    async def get_info(self) -> pb.GetInfoResponse:
        """Return what one executor says of itself.

        Raises:
            Unavailable: it cannot be reached.
        """
        try:
            return await self.stub.GetInfo(pb.GetInfoRequest())
        except grpc.aio.AioRpcError as error:
            raise self.explained(error) from None


class ExecutorSession:
    """Snippets that share variables. An asynchronous context manager; one `run` at a time."""

    def __init__(self, client: ExecutorClient, opening: pb.OpenSession, on_note: Callable[[str], None]) -> None:
        self._client = client
        self._opening = opening
        self._on_note = on_note
        self._stream: _Stream | None = None
        self._sequence = 0
        self._history: list[pb.RunSnippet] = []  # what a new sandbox needs to hold the same variables

    async def run(self, code: str, limits: pb.Limits | None = None) -> pb.SnippetResult:
        """Run a snippet and return its result, whose outcome is never OUTCOME_SANDBOX_FAILED.

        Raises:
            InvalidRequest: the executor refuses the code or the limits; the session goes on.
            Unavailable: no executor ran it within the client's patience.
        """
        snippet = pb.RunSnippet(code=code, limits=limits)
        give_up = asyncio.get_running_loop().time() + self._client.patience_s
        pause = _FIRST_PAUSE_S
        while True:
            try:
                result = await self._try(snippet)
                break
            except (Unavailable, Overloaded) as error:
                await self._lost(error)
                wait = max(pause, error.retry_after_ms / 1000) if isinstance(error, Overloaded) else pause
                if asyncio.get_running_loop().time() + wait > give_up:
                    raise Unavailable(
                        f"no executor ran the snippet in {self._client.patience_s:g} s: {error}"
                    ) from error
                await asyncio.sleep(wait)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            except DeepMathError:
                await self.close()  # the executor ended the stream; what is in the history can be replayed
                raise
        self._remember(snippet, result)
        return result

    async def close(self) -> None:
        """End the session: its sandbox is killed. It may be used again, and is then replayed in a new one."""
        if self._stream:
            self._stream.cancel()
            self._stream = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _try(self, snippet: pb.RunSnippet) -> pb.SnippetResult:
        if self._stream is None:
            await self._open()
            for earlier in self._history:
                await self._run(earlier)
        return await self._run(snippet)

    async def _open(self) -> None:
        self._sequence = 0
        self._stream = self._client.stub.Session()
        await self._exchange(pb.SessionRequest(open=self._opening), _QUEUE_PATIENCE_S)

    async def _run(self, snippet: pb.RunSnippet) -> pb.SnippetResult:
        self._sequence += 1
        snippet.sequence = self._sequence
        patience = snippet.limits.wall_ms / 1000 + _QUEUE_PATIENCE_S
        result = (await self._exchange(pb.SessionRequest(run=snippet), patience)).result
        if result.outcome == pb.OUTCOME_SANDBOX_FAILED:
            raise Unavailable(f"the sandbox failed: {result.exception.message or 'no reason given'}")
        return result

    async def _exchange(self, request: pb.SessionRequest, patience_s: float) -> pb.SessionResponse:
        stream = self._stream
        assert stream is not None
        try:
            async with asyncio.timeout(patience_s):
                await stream.write(request)
                response = await stream.read()
        except TimeoutError:
            raise Unavailable(f"the executor said nothing for {patience_s:.0f} s") from None
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise await self._reason(stream) from None
        if not isinstance(response, pb.SessionResponse):  # the end of the stream
            raise await self._reason(stream)
        return response

    async def _reason(self, stream: _Stream) -> DeepMathError:
        """Return why the stream is over. A stream may be over in good order, and still too soon."""
        error = grpc.aio.AioRpcError(
            await stream.code(),
            await stream.initial_metadata(),
            await stream.trailing_metadata(),
            await stream.details(),
        )
        if error.code() in (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL):
            return Unavailable(f"the executor ended the session: {error.details() or error.code().name}")
        return from_rpc(error, "an executor")

    async def _lost(self, error: DeepMathError) -> None:
        if self._stream and self._sequence > 0:  # it had taken us: worth telling
            replayed = f"; replaying {len(self._history)} snippets" if self._history else ""
            self._on_note(f"executor lost ({error}){replayed} on another")
        await self.close()

    def _remember(self, snippet: pb.RunSnippet, result: pb.SnippetResult) -> None:
        if result.state_lost:
            self._history.clear()
        else:
            self._history.append(snippet)

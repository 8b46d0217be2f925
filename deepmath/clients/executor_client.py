"""Client of the executor service."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from deepmath.clients.base_client import BaseClient
from deepmath.clients.context_propagation import context_metadata
from deepmath.clients.executor_session import ExecutorSession
from deepmath.clients.executor_stream import ExecutorStream
from deepmath.errors import InvalidRequest
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.executor.v1 import executor_pb2_grpc as rpc
from deepmath.rpc.address_watcher import RESOLVE_SECONDS
from deepmath.rpc.metadata import CLIENT_NAME, check_name

_INFO_DEADLINE_S = 5.0


class ExecutorClient(BaseClient):
    """A channel to one or more executors.

    `patience_s` is how long a session looks for an executor with capacity before it raises Unavailable. Executors
    schedule fairly between clients and apply per-client limits; a client without an authenticated name is identified by
    `client_name` and its host.

    Raises:
        InvalidRequest: `target` is not a valid address, or `client_name` exceeds 128 characters or is not printable
            ASCII.
    """

    service = "executor"

    def __init__(
        self,
        target: str,
        patience_s: float = 60.0,
        client_name: str = "",
        *,
        tls: Path | None = None,
        token_file: Path | None = None,
        resolve_s: float = RESOLVE_SECONDS,
    ) -> None:
        check_name(client_name, "client_name")
        super().__init__(target, tls=tls, token_file=token_file, resolve_s=resolve_s)
        self.patience_s = patience_s
        self.metadata = ((CLIENT_NAME, client_name),)
        self.stub = rpc.ExecutorServiceStub(self.channel)

    def session(
        self, seed: int = 0, session_id: str = "", on_note: Callable[[str], None] | None = None
    ) -> ExecutorSession:
        """Return a session, which opens with its first snippet.

        `on_note` receives a sentence for each executor lost and replaced, and for each difference on the new one.

        Raises:
            InvalidRequest: `seed` is not in 0 to 2**64 - 1, or `session_id` is too long or not printable ASCII.
        """
        if not 0 <= seed < 1 << 64:
            raise InvalidRequest(f"seed is {seed}: give 0 to 2**64 - 1")
        check_name(session_id, "session_id")
        opening = pb.OpenSession(seed=seed, session_id=session_id)
        metadata = self.metadata + context_metadata()  # of the task that creates the session, for every reopening
        new_stream = partial(ExecutorStream, self.stub, metadata, self.translate)
        return ExecutorSession(new_stream, self.patience_s, opening, on_note or (lambda _: None))

    async def execute(
        self,
        code: str,
        limits: pb.Limits | None = None,
        seed: int = 0,
        deadline_s: float | None = None,
        *,
        stdin: str = "",
    ) -> pb.SnippetResult:
        """Run one snippet in a fresh sandbox, with `stdin` as its standard input, and return its result.

        Raises:
            InvalidRequest: The executor rejected the code, the standard input or the limits.
            Unavailable: No executor had capacity within `patience_s`, or there was no result within `deadline_s`.
        """
        async with self.session(seed) as session:
            return await session.run(code, limits, deadline_s, stdin=stdin)

    async def get_info(self, deadline_s: float = _INFO_DEADLINE_S) -> pb.GetInfoResponse:
        """Return the isolation, limits, versions and load of one executor.

        Raises:
            Unavailable: None responded within `deadline_s`.
        """
        return await self.call_with_retry(
            lambda timeout: self.stub.GetInfo(pb.GetInfoRequest(), timeout=timeout), deadline_s
        )

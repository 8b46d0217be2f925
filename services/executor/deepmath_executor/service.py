"""gRPC service of the executor: the RPCs of `deepmath.executor.v1`."""

import asyncio
from functools import partial
from typing import Any

import grpc

import deepmath
from deepmath.errors import WrongOrder
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.executor.v1 import executor_pb2_grpc as rpc
from deepmath.sandbox.supervisor.sandbox_pool import SandboxPool
from deepmath_executor.admission import SessionAdmission
from deepmath_executor.caller import Caller
from deepmath_executor.client_stream import ClientStream
from deepmath_executor.config import ExecutorConfig
from deepmath_executor.session import SandboxSession
from deepmath_executor.session_timeouts import SessionTimeouts
from deepmath_executor.snippet_limits import to_message
from deepmath_executor.snippet_records import SnippetRecords

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["ExecutorService"].full_name


class ExecutorServicer(rpc.ExecutorServiceServicer):
    """Serves sessions from a pool of sandboxes."""

    def __init__(
        self, config: ExecutorConfig, pool: SandboxPool, admission: SessionAdmission, records: SnippetRecords
    ) -> None:
        self._config = config
        self._pool = pool
        self._admission = admission
        self._new_session = partial(SandboxSession, pool, admission, records, config)
        self._digest = pool.versions_digest

    def register(self, server: grpc.aio.Server) -> None:
        """Add this servicer to `server`."""
        rpc.add_ExecutorServiceServicer_to_server(self, server)

    async def drain(self) -> None:
        """Admit no more sessions, and close idle ones."""
        self._admission.drain()

    # A coroutine, not a generator: when the client disconnects it is cancelled where it waits, and the sandbox dies.
    async def Session(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        """Open a session and run its snippets until the client closes its half of the stream."""
        caller = Caller.of(context)
        opening = await self._read_open(context)
        if opening is None:
            return
        with (
            self._admission.session(caller),
            self._new_session(caller, opening) as session,
            ClientStream(context) as stream,
        ):
            timeouts = SessionTimeouts(self._config.idle_seconds, self._config.lifetime_seconds)
            await session.open()
            opened = pb.SessionOpened(versions_digest=self._digest)
            await timeouts.send(context.write(pb.SessionResponse(opened=opened)))
            while True:
                request = await timeouts.next(lambda: self._admission.read_idle(stream.next()))
                if request is grpc.aio.EOF:
                    return
                if stream.is_late(request):
                    continue
                if request.WhichOneof("request") != "run":
                    raise WrongOrder("every request of a session after `open` must be `run`")
                with stream.previewing(request.run) as preview:
                    result = await session.run(request.run, stream.call_client, preview)
                await timeouts.send(stream.write(pb.SessionResponse(result=result)))

    async def _read_open(self, context: Any) -> pb.OpenSession | None:
        """Return the client's `open` request; None if it closes the stream instead."""
        try:
            with self._admission.opening():
                async with asyncio.timeout(self._config.open_seconds):
                    first = await self._admission.read_idle(context.read())
        except TimeoutError:
            raise WrongOrder(f"the stream did not `open` a session within {self._config.open_seconds:g} s") from None
        if first is grpc.aio.EOF:
            return None
        if first.WhichOneof("request") != "open":
            raise WrongOrder("the first request of a session must be `open`")
        opening: pb.OpenSession = first.open
        return opening

    async def Execute(self, request: pb.ExecuteRequest, context: Any) -> pb.ExecuteResponse:
        """Run one snippet in a session of its own."""
        caller, opening = Caller.of(context), pb.OpenSession(seed=request.seed)
        with self._admission.session(caller), self._new_session(caller, opening) as session:
            snippet = pb.RunSnippet(sequence=1, code=request.code, limits=request.limits, stdin=request.stdin)
            return pb.ExecuteResponse(result=await session.run(snippet))

    async def GetInfo(self, request: pb.GetInfoRequest, context: Any) -> pb.GetInfoResponse:
        """Return version, isolation layers, limits and load."""
        return pb.GetInfoResponse(
            version=deepmath.__version__,
            layers=[pb.IsolationLayer(**layer) for layer in self._pool.layers],
            default_limits=to_message(self._config.default_limits),
            maximum_limits=to_message(self._config.maximum_limits),
            allowed_modules=self._config.allowed_modules,
            versions=self._pool.versions,
            versions_digest=self._digest,
            load=pb.Load(
                live_sessions=self._admission.sessions,
                maximum_sessions=self._config.max_sessions,
                running_snippets=self._admission.slots.running,
                maximum_running_snippets=self._config.max_running_snippets,
                queued_snippets=self._admission.slots.queued,
                maximum_queued_snippets=self._config.max_queued_snippets,
                waiting_sandboxes=self._pool.waiting,
            ),
            backend=self._config.backend,
            maximum_stdin_bytes=self._config.maximum_stdin_bytes,
        )

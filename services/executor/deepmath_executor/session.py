"""One client's session: numbered snippets run in order, each at most once, in one sandbox while that lives."""

import time
from dataclasses import replace
from types import TracebackType
from typing import Self

from deepmath.errors import InvalidRequest, Unavailable, WrongOrder
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.observability import tracing
from deepmath.rpc.metadata import check_name
from deepmath.sandbox.supervisor.call_parser import HostCall
from deepmath.sandbox.supervisor.output_preview import OutputPreview
from deepmath.sandbox.supervisor.sandbox_pool import SandboxPool
from deepmath.sandbox.supervisor.sandbox_process import Sandbox
from deepmath.sandbox.supervisor.snippet import Snippet
from deepmath_executor.admission import SessionAdmission
from deepmath_executor.caller import Caller
from deepmath_executor.config import ExecutorConfig
from deepmath_executor.host_calls import CallHandler, refusal, resolve_offer, to_reply
from deepmath_executor.snippet_limits import resolve_limits
from deepmath_executor.snippet_records import SnippetRecords
from deepmath_executor.snippet_slots import SnippetSlot

MAX_CODE_BYTES = 256 << 10


class SandboxSession:
    """A context manager that holds a sandbox from `open`, or the first snippet, until exit; the sandbox then dies."""

    def __init__(
        self,
        pool: SandboxPool,
        admission: SessionAdmission,
        records: SnippetRecords,
        config: ExecutorConfig,
        caller: Caller,
        opening: pb.OpenSession,
    ) -> None:
        check_name(opening.session_id, "open.session_id")
        self._pool = pool
        self._admission = admission
        self._records = records
        self._config = config
        self._caller = caller
        self._name = opening.session_id
        self._sampled = records.audit.sample_session()
        self._seed: int = opening.seed
        self._sandbox: Sandbox | None = None
        self._fresh = True
        self._call_client: CallHandler | None = None
        self._last = pb.SnippetResult()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release_sandbox()

    async def open(self) -> Sandbox:
        """Acquire a sandbox.

        Raises:
            Unavailable: No sandbox can be had.
        """
        start = time.monotonic()
        self._sandbox = await self._pool.acquire()
        self._sandbox.owner = self._caller
        self._records.metrics.sandbox_acquired(time.monotonic() - start)
        self._fresh = True
        return self._sandbox

    async def run(
        self,
        request: pb.RunSnippet,
        call_client: CallHandler | None = None,
        preview: OutputPreview | None = None,
    ) -> pb.SnippetResult:
        """Run the next snippet, or return the last result again if its sequence number is repeated.

        Args:
            request: The snippet.
            call_client: Forwards a host call to the client; None if the snippet may make none.
            preview: Reads the output while the snippet runs.

        Raises:
            InvalidRequest: Code, standard input, limits or host functions are out of bounds.
            WrongOrder: The sequence number is neither the last one nor the next.
        """
        arrived = time.monotonic()
        if self._last.sequence and request.sequence == self._last.sequence:
            return self._last
        if request.sequence != self._last.sequence + 1:
            raise WrongOrder(f"run.sequence is {request.sequence}, and {self._last.sequence + 1} is next")
        _check_code(request.code)
        _check_stdin(request.stdin, self._config.maximum_stdin_bytes)
        snippet = Snippet(
            sequence=request.sequence,
            code=request.code,
            limits=resolve_limits(request.limits, self._config.default_limits, self._config.maximum_limits),
            as_json=request.value_format == pb.VALUE_FORMAT_JSON,
            offer=resolve_offer(request.host, self._config) if call_client else None,
            stdin=request.stdin,
            preview=preview,
        )
        self._call_client = call_client
        with tracing.span("snippet", parent=request.traceparent) as span:
            self._last = await self._run_when_admitted(snippet, arrived)
            _annotate(span, self._last)
        return self._last

    async def _run_when_admitted(self, snippet: Snippet, arrived: float) -> pb.SnippetResult:
        await self._admission.throttle(self._caller)
        async with self._admission.slots.hold(self._caller) as slot:
            result = pb.SnippetResult(sequence=snippet.sequence)
            try:
                result = await self._run_in_sandbox(snippet, arrived, slot)
            finally:  # also when the client disconnects: no code runs unrecorded
                self._records.snippet_ran(self._caller, self._name, snippet, result, self._sampled)
        return result

    async def _run_in_sandbox(self, snippet: Snippet, arrived: float, slot: SnippetSlot) -> pb.SnippetResult:
        try:
            sandbox = self._sandbox or await self.open()
        except Unavailable:
            return pb.SnippetResult(sequence=snippet.sequence, outcome=pb.OUTCOME_SANDBOX_FAILED, state_lost=True)
        queue_ms = 1e3 * (time.monotonic() - arrived)
        if self._fresh:
            snippet = replace(snippet, seed=self._seed)
        result = await sandbox.start(snippet)
        self._fresh = False
        if isinstance(result, HostCall):
            result = await self._handle_calls(sandbox, snippet, result, slot)
        result.usage.queue_ms += queue_ms
        if result.state_lost:
            self._release_sandbox()
        return result

    async def _handle_calls(
        self, sandbox: Sandbox, snippet: Snippet, call: HostCall, slot: SnippetSlot
    ) -> pb.SnippetResult:
        """Answer `call` and any further calls, and return the snippet's result."""
        assert snippet.offer is not None
        assert self._call_client is not None
        host_s = 0.0
        step: pb.SnippetResult | HostCall = call
        while isinstance(step, HostCall):
            if (reply := refusal(step, snippet.offer)) is None:
                start = time.monotonic()
                async with slot.released():  # the client may need the slot to run snippets of its own
                    reply = to_reply(await self._call_client(step, snippet))
                host_s += time.monotonic() - start
            step = await sandbox.resume(snippet, reply)
        step.usage.host_ms = 1e3 * host_s
        return step

    def _release_sandbox(self) -> None:
        if self._sandbox is not None:
            self._pool.release(self._sandbox)
            self._sandbox = None


def _annotate(span: tracing.Span, result: pb.SnippetResult) -> None:
    usage = result.usage
    span.set(
        outcome=pb.Outcome.Name(result.outcome).removeprefix("OUTCOME_").lower(),
        sequence=result.sequence,
        queue_ms=usage.queue_ms,
        wall_ms=usage.wall_ms,
        cpu_ms=usage.cpu_ms,
        peak_memory_bytes=usage.peak_memory_bytes,
    )


def _check_code(code: str) -> None:
    if len(code) > MAX_CODE_BYTES or len(code.encode()) > MAX_CODE_BYTES:
        raise InvalidRequest(f"code is over {MAX_CODE_BYTES} bytes; split it into several snippets")
    if "\0" in code:
        raise InvalidRequest("code contains a NUL character; send Python source text")


def _check_stdin(stdin: str, maximum: int) -> None:
    if len(stdin) > maximum or len(stdin.encode()) > maximum:
        raise InvalidRequest(
            f"stdin is over {maximum} bytes; shorten it, or raise --maximum-stdin-bytes of the executor"
        )

"""One client's session: snippets in order, each at most once, in one sandbox as long as it lives."""

import time
from types import TracebackType
from typing import Self

from deepmath.errors import InvalidRequest, Unavailable, WrongOrder
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.observability import tracing
from deepmath.rpc.metadata import check_name
from deepmath.sandbox.limits import Limits
from deepmath.sandbox.supervisor.call_parser import HostCall
from deepmath.sandbox.supervisor.sandbox_pool import SandboxPool
from deepmath.sandbox.supervisor.sandbox_process import Sandbox
from deepmath.sandbox.supervisor.snippet import HostFunctionOffer, Snippet
from deepmath_executor.admission import SessionAdmission
from deepmath_executor.caller import Caller
from deepmath_executor.config import ExecutorConfig
from deepmath_executor.host_calls import Ask, refusal, resolve_offer, to_reply
from deepmath_executor.preflight import can_speak_for, refuse
from deepmath_executor.snippet_limits import resolve_limits
from deepmath_executor.snippet_records import SnippetRecords
from deepmath_executor.snippet_slots import SnippetSlot

MAX_CODE_BYTES = 256 << 10


class SandboxSession:
    """A context manager, at whose end the sandbox dies. The sandbox is taken by `open`, or by the first snippet."""

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
        self._validates = config.preflight and can_speak_for(pool.versions)
        self._seed: int = opening.seed
        self._sandbox: Sandbox | None = None
        self._ask: Ask | None = None
        self._fresh = True
        self._last = pb.SnippetResult()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._let_go()

    async def open(self) -> Sandbox:
        """Take a sandbox.

        Raises:
            Unavailable: none can be had.
        """
        start = time.monotonic()
        self._sandbox = await self._pool.acquire()
        self._records.metrics.sandbox_acquired(time.monotonic() - start)
        self._fresh = True
        return self._sandbox

    async def run(self, request: pb.RunSnippet, alone: bool = False, ask: Ask | None = None) -> pb.SnippetResult:
        """Run the next snippet, or return the result of the last again where its number is sent again.

        `alone` says that it is the session's only one. `ask` lets the client answer the snippet's calls.

        Raises:
            InvalidRequest: code, limits or host functions are out of bounds.
            WrongOrder: it is neither the last number nor the next.
        """
        arrived = time.monotonic()
        if self._last.sequence and request.sequence == self._last.sequence:
            return self._last
        if request.sequence != self._last.sequence + 1:
            raise WrongOrder(f"run.sequence is {request.sequence}, and {self._last.sequence + 1} is next")
        _check_code(request.code)
        limits = resolve_limits(request.limits, self._config.default_limits, self._config.maximum_limits)
        self._ask = ask
        offer = resolve_offer(request.host, self._config) if ask else None
        with tracing.span("snippet", parent=request.traceparent) as span:
            self._last = await self._run_in_turn(request, limits, offer, arrived, alone)
            _describe(span, self._last)
        return self._last

    async def _run_in_turn(
        self, request: pb.RunSnippet, limits: Limits, offer: HostFunctionOffer | None, arrived: float, alone: bool
    ) -> pb.SnippetResult:
        await self._admission.throttle(self._caller)
        kept = (self._caller, self._name, request.code, limits)
        if self._validates and (refusal := refuse(request.code, request.sequence, limits.output_bytes, alone)):
            refusal.usage.queue_ms = 1e3 * (time.monotonic() - arrived)
            self._records.snippet_refused(*kept, refusal)
            return refusal
        async with self._admission.slots.hold(self._caller) as slot:
            result = pb.SnippetResult(sequence=request.sequence)
            try:
                result = await self._run(request, limits, offer, arrived, slot)
            finally:  # a client that goes at once shall not run code unseen
                self._records.snippet_ran(*kept, result)
        return result

    async def _run(
        self, request: pb.RunSnippet, limits: Limits, offer: HostFunctionOffer | None, arrived: float, slot: SnippetSlot
    ) -> pb.SnippetResult:
        try:
            sandbox = self._sandbox or await self.open()
        except Unavailable:
            return pb.SnippetResult(sequence=request.sequence, outcome=pb.OUTCOME_SANDBOX_FAILED, state_lost=True)
        queue_ms = 1e3 * (time.monotonic() - arrived)
        seed = self._seed if self._fresh else None
        as_json = request.value_format == pb.VALUE_FORMAT_JSON
        snippet = Snippet(request.sequence, request.code, limits, seed, as_json, offer)
        result = await sandbox.start(snippet)
        self._fresh = False
        if isinstance(result, HostCall):
            result = await self._run_with_calls(sandbox, snippet, result, slot)
        result.usage.queue_ms = queue_ms
        if result.state_lost:
            self._let_go()
        return result

    async def _run_with_calls(
        self, sandbox: Sandbox, snippet: Snippet, call: HostCall, slot: SnippetSlot
    ) -> pb.SnippetResult:
        """Answer `call` and those after it, and return the snippet's result."""
        assert snippet.offer is not None
        assert self._ask is not None
        waited = 0.0
        step: pb.SnippetResult | HostCall = call
        while isinstance(step, HostCall):
            if (reply := refusal(step, snippet.offer)) is None:
                start = time.monotonic()
                async with slot.released():  # what answers may have snippets of its own to run
                    reply = to_reply(await self._ask(step, snippet))
                waited += time.monotonic() - start
            step = await sandbox.resume(snippet, reply)
        step.usage.host_ms = 1e3 * waited
        return step

    def _let_go(self) -> None:
        if self._sandbox is not None:
            self._pool.release(self._sandbox)
            self._sandbox = None


def _describe(span: tracing.Span, result: pb.SnippetResult) -> None:
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
    if len(code.encode()) > MAX_CODE_BYTES:
        raise InvalidRequest(f"code is over {MAX_CODE_BYTES} bytes: send less, or in several snippets")
    if "\0" in code:
        raise InvalidRequest("code contains NUL: send Python source text")

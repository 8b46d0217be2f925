"""A sandbox as the supervisor sees it: a process that runs snippets on request, is measured, and is killed.

Theory of operation
-------------------
The process is hostile from its first snippet on. It controls nothing but the bytes on three descriptors; everything
else that the supervisor believes of it comes from the kernel.

* Responses are frames on a socket. A frame that is too long or of the wrong shape ends the sandbox. A forged
  frame can only spoil the result of the snippet that forged it. If the process keeps computing behind its response,
  `check_idle` sees its processor time grow and kills it.
* Output is read while it is written (`output_capture.py`), so that a kill loses none of it.
* Time limits (`snippet_timer.py`) end in SIGALRM, which raises TimeoutError in the snippet. It is repeated during the
  grace period, because a library may swallow the exception, and followed by SIGKILL. Signals go through the pidfd,
  which cannot hit another process. Only a process that was interrupted can report that it was.
* A snippet that calls a function of the client stands still until `resume`: its wall clock stops, and if it computes or
  sends anything meanwhile it is killed, as between snippets.
* Memory is limited by RLIMIT_AS, set from outside for each snippet: the address space before the first snippet plus
  the snippet's limit. Between snippets the process cannot enlarge it. Page tables, which RLIMIT_AS does not count, are
  watched: scattered mappings take up to 512 MiB of them. All sandboxes share a budget (`memory_budget.py`).
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Hashable
from typing import Self

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox import frames
from deepmath.sandbox.limits import Limits
from deepmath.sandbox.png_image import MOST_FIGURE_BYTES
from deepmath.sandbox.supervisor.call_parser import HostCall, longest_call, to_call
from deepmath.sandbox.supervisor.fork_server import ForkFailed, ForkServer, ProcessExit
from deepmath.sandbox.supervisor.memory_budget import MemoryBudget
from deepmath.sandbox.supervisor.output_capture import OutputCapture
from deepmath.sandbox.supervisor.process_meter import ProcessMeter
from deepmath.sandbox.supervisor.result_parser import longest_frame, to_result
from deepmath.sandbox.supervisor.snippet import Snippet
from deepmath.sandbox.supervisor.snippet_timer import SnippetTimer

_READY_SECONDS = 30.0
_EXIT_SECONDS = 5.0
_READ_BYTES = 1 << 16
_CPU_BACKSTOP_SECONDS = 2.0  # on top of the processor-time limit, in case the supervisor is stuck
_IDLE_CPU_SECONDS = 0.05
_INHERITED, _HELD = "RssAnon", ("RssAnon", "RssShmem", "VmSwap", "VmPTE")  # of /proc/PID/status
_COMMITTED = "VmData"  # writable private mappings
_PAGE_TABLES = "VmPTE"
_BYTES_PER_TABLE_BYTE = 256  # half of what a page table maps if its pages lie together
_IDLE_GROWTH_BYTES = 4 << 20  # for the runner, which waits for the next request
_KERNEL_BYTES = 16 << 20  # most kernel memory for one process: 65 530 mappings (vm.max_map_count), pipes, sockets
_NEAR_LIMIT = 0.9  # of the memory limit: a process killed above it was killed for its memory


class Sandbox:
    """A locked-down process. Create one with `open`; `close` kills it, whatever it is doing.

    Attributes:
        on_kill: Called with the seconds between a time limit and the death of the process killed for it, if set.
        started: Whether it has been given a snippet.
        last_used: Number of its last snippet, among those of all sandboxes.
        owner: Client that it belongs to; None if all sandboxes are the same client's.
        held_bytes: Memory that it holds beyond the shared pages of its zygote, when last measured.
        committed_bytes: Memory that it holds or could hold without new mappings, when last measured.
        inherited_bytes: Memory beyond a snippet's limit that it could come to hold: copies of its zygote's pages, and
            kernel memory.
    """

    def __init__(
        self, control: socket.socket, stdout: int, stderr: int, grace_s: float, memory: MemoryBudget, shares: bool
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._memory, self._shares = memory, shares
        self.started = False
        self.last_used = 0
        self.owner: Hashable = None
        self.held_bytes = self.committed_bytes = self.inherited_bytes = 0
        self._control = control
        self._output = OutputCapture(stdout, stderr, lambda: self._kill(pb.OUTCOME_OUTPUT_LIMIT))
        self._timer = SnippetTimer(
            grace_s,
            lambda: self.meter.cpu_seconds(),  # noqa: PLW0108 - the meter does not exist yet
            lambda: self._signal(signal.SIGALRM),
            self._kill_at_limit,
        )
        self._decoder = frames.Decoder()
        self._frame_limit = longest_frame(0)
        # Set to the next frame, or to None when the process is killed or closes its socket.
        self._response: asyncio.Future[frames.Message | None] = self._loop.create_future()
        self._killed_by: pb.Outcome.ValueType | None = None
        self.on_kill: Callable[[float], None] | None = None
        self._figure_bytes = 0
        self._disconnected = self._closed = self._paused = False
        self._pidfd = -1
        self._meter: ProcessMeter | None = None
        self._cpu = self._cpu_at_start = self._wall = self._queued = 0.0  # seconds
        self._most_cpu = 0.0  # seconds, the most that was ever measured
        self._calls = 0
        # Bytes. `base` is the address space and `resident` the peak memory before the first snippet.
        self._peak = self._base = self._resident = 0
        self._most_page_tables = 0
        self._free_bytes = self._base_data = 0  # not charged: the pages shared with the zygote, and its mappings
        self._cpu_at_measurement = -1.0
        control.setblocking(False)
        self._loop.add_reader(control, self._read_control)

    @classmethod
    async def open(cls, server: ForkServer, grace_s: float, memory: MemoryBudget, shares: bool = True) -> Self:
        """Fork a sandbox and wait until it is locked down.

        Args:
            server: Forks it.
            grace_s: Time for a snippet to end after the signal at its time limit, in seconds.
            memory: Budget that its snippets share with those of all other sandboxes.
            shares: Whether other sandboxes share the zygote's memory; otherwise it counts as this sandbox's.

        Raises:
            ForkFailed: The sandbox could not be forked.
            OSError: No free file descriptor.
        """
        control, control_end = socket.socketpair()
        stdout, stdout_end = os.pipe()
        try:
            stderr, stderr_end = os.pipe()
        except OSError:
            os.close(stdout)
            os.close(stdout_end)
            raise
        sandbox = cls(control, stdout, stderr, grace_s, memory, shares)
        sandbox._figure_bytes = MOST_FIGURE_BYTES if "matplotlib" in server.versions else 0
        try:
            try:
                child = server.fork(control_end.fileno(), stdout_end, stderr_end)
            finally:
                control_end.close()
                os.close(stdout_end)
                os.close(stderr_end)
            await sandbox._wait_until_ready(await child.forked, child.ended)
        except BaseException:
            sandbox.close()
            raise
        return sandbox

    async def _wait_until_ready(self, pidfd: int, ended: asyncio.Future[ProcessExit | None]) -> None:
        self._pidfd, self._ended = pidfd, ended
        try:
            self._meter = ProcessMeter(pidfd)
            async with asyncio.timeout(_READY_SECONDS):
                response = await asyncio.shield(self._response)
            if response is None or "ready" not in response:
                raise ForkFailed("the sandbox died during its lockdown")
            self._base, self._resident = self._meter.status_bytes("VmSize", "VmHWM")
            self._cpu = self._meter.cpu_seconds()
            self._start_accounting()
        except (OSError, TimeoutError) as error:
            raise ForkFailed(f"the sandbox did not become ready: {error}") from error

    def _start_accounting(self) -> None:
        self._limit_page_tables(0)
        inherited, self._base_data = self.meter.status_bytes(_INHERITED, _COMMITTED)
        self.inherited_bytes = _KERNEL_BYTES + (inherited if self._shares else 0)
        self._free_bytes = sum(self.meter.status_bytes(*_HELD)) if self._shares else 0
        self.measure_memory()
        self._memory.add(self, self._ended)

    @property
    def meter(self) -> ProcessMeter:
        """Measures the process."""
        assert self._meter is not None
        return self._meter

    @property
    def alive(self) -> bool:
        """Whether it can run a snippet, as far as is known."""
        return not (self._disconnected or self._closed or self._killed_by)

    async def run(self, snippet: Snippet) -> pb.SnippetResult:
        """Run a `snippet` without host functions and return its result, as `start` does."""
        result = await self.start(snippet)
        assert isinstance(result, pb.SnippetResult)
        return result

    async def start(self, snippet: Snippet) -> pb.SnippetResult | HostCall:
        """Run `snippet` and return its result, or its call of a host function.

        A call must be answered by `resume`. After a result with `state_lost` the sandbox is dead. The result's
        `queue_ms` is the time that the snippet waited for memory.
        """
        self.started = True
        self._output.restart(snippet.limits.output_bytes, snippet.preview)
        self._timer.expired = None
        self._cpu_at_start, self._peak = self._cpu, self._resident
        self._wall, self._calls, self._queued = 0.0, 0, 0.0
        return await self._advance(snippet)

    async def resume(self, snippet: Snippet, reply: frames.Fields) -> pb.SnippetResult | HostCall:
        """Answer the pending call of `snippet` with `reply` and continue, as `start` does."""
        return await self._advance(snippet, reply)

    async def _advance(self, snippet: Snippet, reply: frames.Fields | None = None) -> pb.SnippetResult | HostCall:
        arrived = self._loop.time()
        async with self._memory.running(self, snippet.limits.memory_bytes):
            self._queued += self._loop.time() - arrived
            self._paused = False
            return await self._run_on(snippet, reply)

    async def _run_on(self, snippet: Snippet, reply: frames.Fields | None) -> pb.SnippetResult | HostCall:
        start = self._loop.time()
        response = await self._exchange(snippet, start, reply) if self.alive else None
        self._wall += self._loop.time() - start
        await self._output.drain()
        result = pb.SnippetResult(sequence=snippet.sequence)
        if response is not None and self.alive:
            try:
                if snippet.offer is not None and "call" in response:
                    self._calls += 1
                    self._paused = True
                    return to_call(response, snippet.sequence, self._calls)
                result = to_result(
                    response, snippet.sequence, snippet.limits.output_bytes, self._timer.expired, self._figure_bytes
                )
            except frames.MalformedFrame:
                self._kill(pb.OUTCOME_CRASHED)
        if not self.alive:
            result = pb.SnippetResult(sequence=snippet.sequence, outcome=await self._post_mortem(snippet.limits))
            result.state_lost = True
        self._add_output_and_usage(result)
        return result

    def _add_output_and_usage(self, result: pb.SnippetResult) -> None:
        stdout, stderr = self._output.texts()
        result.stdout, result.dropped_bytes.stdout = stdout
        result.stderr, result.dropped_bytes.stderr = stderr
        result.usage.queue_ms = 1e3 * self._queued
        result.usage.wall_ms = 1e3 * self._wall
        result.usage.cpu_ms = max(0.0, 1e3 * (self._cpu - self._cpu_at_start))
        result.usage.peak_memory_bytes = self._peak
        result.usage.host_calls = self._calls

    async def _exchange(self, snippet: Snippet, start: float, reply: frames.Fields | None) -> frames.Message | None:
        """Send the snippet, or the reply to its call; return the response, or None if the process is dead."""
        self._response = self._loop.create_future()
        self._frame_limit = longest_frame(snippet.limits.output_bytes, self._figure_bytes)
        if snippet.offer is not None:
            self._frame_limit = max(self._frame_limit, longest_call())
        try:
            self._set_limits(snippet.limits, first=reply is None)
            deadline = start + snippet.limits.wall_ms / 1e3 - self._wall
            self._timer.start(deadline, self._cpu_at_start + snippet.limits.cpu_ms / 1e3)
            await self._send(snippet.to_request() if reply is None else reply)
        except OSError:  # the process died just now, which its socket shows too
            pass
        try:
            response = await self._response
            if snippet.offer is not None:
                while self._timer.expired is not None and response is not None and "call" in response:
                    response = await self._refuse_after_timeout()
        finally:
            self._timer.cancel()
        self._response = self._loop.create_future()
        self._response.set_result(None)  # marks it done without keeping the response of an idle session in memory
        if address_space := self._measure():
            self._stop_growth(address_space)
        return response

    def _set_limits(self, limits: Limits, first: bool) -> None:
        """Let the process use memory and, with the `first` frame of a snippet, processor time."""
        self.meter.limit_address_space(self._base + limits.memory_bytes)
        self._limit_page_tables(limits.memory_bytes)
        if not first:
            return
        self._cpu_at_start = self.meter.cpu_seconds()
        self.meter.limit_cpu(self._cpu_at_start + limits.cpu_ms / 1e3 + _CPU_BACKSTOP_SECONDS)

    def _limit_page_tables(self, memory_bytes: int) -> None:
        self._most_page_tables = (self._base + memory_bytes) // _BYTES_PER_TABLE_BYTE + _KERNEL_BYTES

    def _stop_growth(self, address_space: int) -> None:
        """Leave the process the address space that it has, so that an idle one maps no more than it is charged for."""
        with contextlib.suppress(OSError):  # the process is dead
            self.meter.limit_address_space(address_space + _IDLE_GROWTH_BYTES)

    async def _send(self, message: frames.Fields) -> None:
        await self._loop.sock_sendall(self._control, frames.encode(message))

    async def _refuse_after_timeout(self) -> frames.Message | None:
        """Refuse a call that crossed with the signal and wait on; the timer runs to the end of the grace period."""
        self._response = self._loop.create_future()
        with contextlib.suppress(OSError):
            await self._send({"interrupted": 1})
        return await self._response

    def _kill_at_limit(self, outcome: pb.Outcome.ValueType, reached: float) -> None:
        """Kill the process for a time limit that it reached at loop time `reached`."""
        self._kill(outcome)
        if (on_kill := self.on_kill) is not None:
            self._ended.add_done_callback(lambda _: on_kill(self._loop.time() - reached))

    def evict(self) -> None:
        """Kill the process to free its memory. The outcome is SANDBOX_FAILED: the snippet is not to blame."""
        self._kill(pb.OUTCOME_SANDBOX_FAILED)

    def check_idle(self) -> None:
        """Kill the process if it uses processor time between snippets. Call it regularly."""
        try:
            if self.alive and self._response.done() and self.meter.cpu_seconds() > self._cpu + _IDLE_CPU_SECONDS:
                self._kill(pb.OUTCOME_CRASHED)
        except OSError:  # the process is dead
            pass

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used so far, in seconds; never less than before."""
        if self.alive:
            with contextlib.suppress(OSError):  # it has just died
                self._most_cpu = max(self._most_cpu, self.meter.cpu_seconds())
        self._most_cpu = max(self._most_cpu, self._cpu)
        return self._most_cpu

    @property
    def is_paused(self) -> bool:
        """Whether its snippet waits for a host call."""
        return self._paused

    def measure_memory(self) -> None:
        """Measure the memory, if the process has run since the last time; kill it if its page tables are too large."""
        try:
            if (cpu := self.meter.cpu_seconds()) != self._cpu_at_measurement:
                tables, *memory = self.meter.status_bytes(_PAGE_TABLES, _COMMITTED, *_HELD)
                self._charge(cpu, *memory)
                if tables > self._most_page_tables:
                    self._kill(pb.OUTCOME_OUT_OF_MEMORY)
        except OSError:  # it is dead, and its memory is being freed
            pass

    def _charge(self, cpu: float, data: int, *held: int) -> None:
        self._cpu_at_measurement = cpu
        self.held_bytes = max(0, sum(held) - self._free_bytes)
        self.committed_bytes = max(self.held_bytes, data - self._base_data)

    def _measure(self) -> int:
        """Measure the process, and return its address space in bytes; 0 if it is dead: the reaper reports its usage."""
        try:
            self._cpu = self.meter.cpu_seconds()
            self._peak, address_space, *memory = self.meter.status_bytes("VmHWM", "VmSize", _COMMITTED, *_HELD)
            self._charge(self._cpu, *memory)
        except OSError:
            return 0
        return address_space

    def _kill(self, outcome: pb.Outcome.ValueType) -> None:
        if not self.alive:
            return
        self._measure()
        self._killed_by = outcome
        self._signal(signal.SIGKILL)
        if not self._response.done():
            self._response.set_result(None)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    async def _post_mortem(self, limits: Limits) -> pb.Outcome.ValueType:
        """Return the outcome of the snippet during which the process died."""
        if self._killed_by is not None:
            return self._killed_by
        if not self.meter.exiting():
            self._signal(signal.SIGKILL)  # it has closed its socket but lives on
            return pb.OUTCOME_CRASHED
        try:
            async with asyncio.timeout(_EXIT_SECONDS):
                process_exit = await asyncio.shield(self._ended)
        except TimeoutError:
            process_exit = None
        if process_exit is None:  # the reaper died, and its sandboxes with it
            return pb.OUTCOME_SANDBOX_FAILED
        self._cpu, self._peak = process_exit.cpu_ms / 1e3, process_exit.peak_memory_bytes
        return self._diagnose(process_exit, limits)

    def _diagnose(self, process_exit: ProcessExit, limits: Limits) -> pb.Outcome.ValueType:
        number = os.WTERMSIG(process_exit.status) if os.WIFSIGNALED(process_exit.status) else None
        if number == signal.SIGSYS:
            return pb.OUTCOME_POLICY_VIOLATION
        if number == signal.SIGXCPU:
            return pb.OUTCOME_CPU_TIMEOUT
        if number is not None and process_exit.peak_memory_bytes - self._resident >= _NEAR_LIMIT * limits.memory_bytes:
            return pb.OUTCOME_OUT_OF_MEMORY
        # Nothing in a sandbox can send SIGKILL: it came from the kernel's OOM killer or from outside.
        return pb.OUTCOME_SANDBOX_FAILED if number == signal.SIGKILL else pb.OUTCOME_CRASHED

    def _read_control(self) -> None:
        try:
            data = self._control.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._disconnect()
            return
        if self._response.done():  # a response to no request, or the start of one, which would be buffered
            self._kill(pb.OUTCOME_CRASHED)
            return
        try:
            message = self._decoder.feed(data, self._frame_limit)
        except frames.MalformedFrame:
            self._kill(pb.OUTCOME_CRASHED)
            return
        if message is not None:
            self._response.set_result(message)

    def _disconnect(self) -> None:
        self._loop.remove_reader(self._control)
        self._disconnected = True
        if not self._response.done():
            self._response.set_result(None)

    def close(self) -> None:
        """Kill the process and free everything that belongs to it."""
        if self._closed:
            return
        self._closed = True
        self._timer.cancel()
        self._loop.remove_reader(self._control)
        if self._pidfd >= 0:
            self._signal(signal.SIGKILL)
            os.close(self._pidfd)
        if self._meter is not None:
            self._meter.close()
        self._control.close()
        self._output.close()

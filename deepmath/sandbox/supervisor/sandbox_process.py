"""One sandbox as the supervisor sees it: a process that is asked to run snippets, measured, and killed.

Theory of operation
-------------------
The process behind this object is hostile as soon as it has run its first snippet. All that comes from it are bytes on
three descriptors, and all that is believed is what the kernel says of it.

* Answers are frames on a socket. A frame that is too long, no JSON or of the wrong shape ends the sandbox. A forged
  one can only spoil the result of the snippet that forged it; if the process goes on computing behind it, `check_idle`
  sees its processor time grow and kills it.
* Output is read as it is written, so that nothing is lost by a kill, and kept head and tail in bounded memory.
* Wall time is a timer of the event loop. At its end the process gets SIGALRM, which raises TimeoutError in the snippet,
  again and again until the grace is over, because a library may swallow it; then SIGKILL. Both go through its pidfd,
  which cannot hit another process. Only a process that was signalled can say that it was.
* Processor time is read from the kernel's clock of the process: with one thread it cannot grow faster than the wall's,
  so that a limit with L ms left need not be looked at for L ms.
* A snippet that calls a function of the client (`host_calls.py`) stands still until `resume`: its wall time does not go
  on, and what it computes or sends all the same kills it, as between snippets.
* Memory is RLIMIT_AS, set from outside for each snippet to what the process had before its first snippet and the limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from typing import Self

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox import frames
from deepmath.sandbox.bounded_text import HeadAndTail
from deepmath.sandbox.limits import Limits
from deepmath.sandbox.supervisor.call_parser import HostCall, longest_call, to_call
from deepmath.sandbox.supervisor.fork_server import Exit, ForkFailed, ForkServer
from deepmath.sandbox.supervisor.process_meter import ProcessMeter
from deepmath.sandbox.supervisor.result_parser import longest_frame, to_result
from deepmath.sandbox.supervisor.snippet import Snippet

_READY_SECONDS = 30.0
_END_SECONDS = 5.0
_READ_BYTES = 1 << 16  # a pipe holds no more
_OUTPUT_KILL_BYTES = 8 << 20
_CPU_BACKSTOP_SECONDS = 2.0  # beyond the limit, should the supervisor itself be stuck
_IDLE_CPU_SECONDS = 0.05
_SHORTEST_WATCH_SECONDS = 0.001
_SIGNALS_IN_GRACE = 4
_NEAR = 0.9  # of the memory limit: a process that is killed there was killed for its memory


class Sandbox:
    """A locked-down process. Make one with `open`; `close` ends it, whatever it is doing.

    `on_kill`, if set, is told how many seconds after its limit a process that had to be killed for it was dead.
    """

    def __init__(self, control: socket.socket, stdout: int, stderr: int, grace_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._control = control
        self._streams = (stdout, stderr)
        self._texts = {descriptor: HeadAndTail(0) for descriptor in self._streams}
        self._written = 0
        self._decoder = frames.Decoder()
        self._frame_limit = longest_frame(0)
        # Given the next frame, or None when the process is killed or hangs up.
        self._answer: asyncio.Future[dict[str, object] | None] = self._loop.create_future()
        self._interrupted_by: pb.Outcome.ValueType | None = None
        self._killed_by: pb.Outcome.ValueType | None = None
        self._grace_s = grace_s
        self.on_kill: Callable[[float], None] | None = None
        self._hung_up = self._closed = False
        self._pidfd = -1
        self._meter: ProcessMeter | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._cpu = self._cpu_at_start = self._wall = 0.0
        self._calls = 0
        self._peak = self._base = self._resident = self._inherited = 0
        for descriptor in self._streams:
            os.set_blocking(descriptor, False)
            self._loop.add_reader(descriptor, self._read_output, descriptor)
        control.setblocking(False)
        self._loop.add_reader(control, self._read_control)

    @classmethod
    async def open(cls, server: ForkServer, grace_s: float) -> Self:
        """Fork a sandbox and wait until it is locked down.

        `grace_s` is how long a snippet may go on after it was told that its time is over.

        Raises:
            ForkFailed: it cannot be had.
            OSError: there is no free descriptor for it.
        """
        ours, theirs = socket.socketpair()
        stdout, stdout_end = os.pipe()
        try:
            stderr, stderr_end = os.pipe()
        except OSError:
            os.close(stdout)
            os.close(stdout_end)
            raise
        sandbox = cls(ours, stdout, stderr, grace_s)
        try:
            try:
                child = server.fork(theirs.fileno(), stdout_end, stderr_end)
            finally:
                theirs.close()
                os.close(stdout_end)
                os.close(stderr_end)
            await sandbox._settle(await child.forked, child.ended)
        except BaseException:
            sandbox.close()
            raise
        return sandbox

    async def _settle(self, pidfd: int, ended: asyncio.Future[Exit | None]) -> None:
        self._pidfd, self._ended = pidfd, ended
        try:
            self._meter = ProcessMeter(pidfd)
            async with asyncio.timeout(_READY_SECONDS):
                answer = await asyncio.shield(self._answer)
            if answer != {"ready": True}:
                raise ForkFailed("the sandbox died while it locked itself down")
            self._base, self._resident, self._inherited = self._meter.status_bytes("VmSize", "VmHWM", "RssAnon")
            self._cpu = self._meter.cpu_seconds()
        except (OSError, TimeoutError) as error:
            raise ForkFailed(f"the sandbox did not come up: {error}") from error

    @property
    def meter(self) -> ProcessMeter:
        """What the kernel says of the process."""
        assert self._meter is not None
        return self._meter

    @property
    def alive(self) -> bool:
        """Whether it can run a snippet, as far as is known."""
        return not (self._hung_up or self._closed or self._killed_by)

    async def run(self, snippet: Snippet) -> pb.SnippetResult:
        """Run a `snippet` that is offered no host function, and return what `start` does."""
        result = await self.start(snippet)
        assert isinstance(result, pb.SnippetResult)
        return result

    async def start(self, snippet: Snippet) -> pb.SnippetResult | HostCall:
        """Run `snippet` and return its result but for the time in the queue. After `state_lost` the sandbox is dead.

        A call of a function that it was offered is returned in place of the result, and has to be answered by `resume`.
        """
        output_bytes = snippet.limits.output_bytes
        self._texts = {descriptor: HeadAndTail(output_bytes) for descriptor in self._streams}
        self._written = 0
        self._interrupted_by = None
        self._cpu_at_start, self._peak = self._cpu, self._resident
        self._wall, self._calls = 0.0, 0
        return await self._go_on(snippet)

    async def resume(self, snippet: Snippet, reply: dict[str, object]) -> pb.SnippetResult | HostCall:
        """Answer the call that the `snippet` under way has made, and go on as `start` does."""
        return await self._go_on(snippet, reply)

    async def _go_on(self, snippet: Snippet, reply: dict[str, object] | None = None) -> pb.SnippetResult | HostCall:
        output_bytes = snippet.limits.output_bytes
        start = self._loop.time()
        answer = await self._exchange(snippet, start, reply) if self.alive else None
        self._wall += self._loop.time() - start
        for descriptor in self._streams:
            self._drain(descriptor)
        result = pb.SnippetResult(sequence=snippet.sequence)
        if answer is not None and self.alive:
            try:
                if snippet.offer is not None and "call" in answer:
                    self._calls += 1
                    return to_call(answer, snippet.sequence, self._calls)
                result = to_result(answer, snippet.sequence, output_bytes, self._interrupted_by)
            except frames.MalformedFrame:
                self._kill(pb.OUTCOME_CRASHED)
        if not self.alive:
            result = pb.SnippetResult(sequence=snippet.sequence, outcome=await self._post_mortem(snippet.limits))
            result.state_lost = True
        stdout, stderr = (self._texts[descriptor].result() for descriptor in self._streams)
        result.stdout, result.dropped_bytes.stdout = stdout
        result.stderr, result.dropped_bytes.stderr = stderr
        result.usage.wall_ms = 1e3 * self._wall
        result.usage.cpu_ms = max(0.0, 1e3 * (self._cpu - self._cpu_at_start))
        result.usage.peak_memory_bytes = self._peak
        result.usage.host_calls = self._calls
        return result

    async def _exchange(
        self, snippet: Snippet, start: float, reply: dict[str, object] | None
    ) -> dict[str, object] | None:
        """Send the snippet, or the reply to its call, and return the answer, or None where the process is no more."""
        limits = snippet.limits
        self._answer = self._loop.create_future()
        self._frame_limit = longest_frame(limits.output_bytes)
        if snippet.offer is not None:
            self._frame_limit = max(self._frame_limit, longest_call())
        try:
            if reply is None:
                self._cpu_at_start = self.meter.cpu_seconds()
                self.meter.limit_address_space(self._base + limits.memory_bytes)
                self.meter.limit_cpu(self._cpu_at_start + limits.cpu_ms / 1e3 + _CPU_BACKSTOP_SECONDS)
            self._watch(start + limits.wall_ms / 1e3 - self._wall, limits.cpu_ms / 1e3)
            message = snippet.to_request() if reply is None else reply
            await self._loop.sock_sendall(self._control, frames.encode(message))
        except OSError:  # it died just now: its socket says so too
            pass
        try:
            answer = await self._answer
            if snippet.offer is not None:
                while self._interrupted_by is not None and answer is not None and "call" in answer:
                    answer = await self._refuse_for_time()
        finally:
            if self._timer is not None:
                self._timer.cancel()
        self._answer = self._loop.create_future()
        self._answer.set_result(None)  # done, but without the answer: an idle session keeps no large one
        self._measure()
        return answer

    async def _refuse_for_time(self) -> dict[str, object] | None:
        """Answer a call that met the signal on its way, and wait on; the timer goes on to the grace's end."""
        self._answer = self._loop.create_future()
        with contextlib.suppress(OSError):
            await self._loop.sock_sendall(self._control, frames.encode({"interrupted": True}))
        return await self._answer

    def _watch(self, deadline: float, cpu_limit: float) -> None:
        """Interrupt the snippet if a limit is reached, else come back when one may be."""
        now = self._loop.time()
        if now >= deadline:
            self._interrupt(pb.OUTCOME_WALL_TIMEOUT, now)
            return
        try:
            left = cpu_limit - (self.meter.cpu_seconds() - self._cpu_at_start)
        except OSError:  # it is dead
            return
        if left <= 0:
            self._interrupt(pb.OUTCOME_CPU_TIMEOUT, now)
            return
        again = min(deadline, now + max(left, _SHORTEST_WATCH_SECONDS))
        self._timer = self._loop.call_at(again, self._watch, deadline, cpu_limit)

    def _interrupt(self, outcome: pb.Outcome.ValueType, limit: float) -> None:
        """Tell the snippet that its time is over, and see to it until the grace is over too."""
        now = self._loop.time()
        self._interrupted_by = outcome
        if now >= limit + self._grace_s:
            self._kill(outcome)
            if self.on_kill is not None:
                told = self.on_kill
                self._ended.add_done_callback(lambda _: told(self._loop.time() - limit))
            return
        self._signal(signal.SIGALRM)
        again = min(limit + self._grace_s, now + self._grace_s / _SIGNALS_IN_GRACE)
        self._timer = self._loop.call_at(again, self._interrupt, outcome, limit)

    def evict(self) -> None:
        """Kill the process for no fault of its own: the memory that it holds is wanted."""
        self._kill(pb.OUTCOME_SANDBOX_FAILED)

    def check_idle(self) -> None:
        """Kill a process that computes although it has answered. Call it now and then between snippets."""
        try:
            if self.alive and self._answer.done() and self.meter.cpu_seconds() > self._cpu + _IDLE_CPU_SECONDS:
                self._kill(pb.OUTCOME_CRASHED)
        except OSError:  # it is dead
            pass

    def held_bytes(self) -> int:
        """Memory that its snippets have taken; 0 where it is dead."""
        try:
            (held,) = self.meter.status_bytes("RssAnon")
        except OSError:
            return 0
        return held - self._inherited  # what it was forked with is shared with all others

    def _measure(self) -> None:
        try:
            self._cpu = self.meter.cpu_seconds()
            (self._peak,) = self.meter.status_bytes("VmHWM")
        except OSError:  # it is dead: the zygote will say what it used
            pass

    def _kill(self, outcome: pb.Outcome.ValueType) -> None:
        if not self.alive:
            return
        self._measure()
        self._killed_by = outcome
        self._signal(signal.SIGKILL)
        if not self._answer.done():
            self._answer.set_result(None)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    async def _post_mortem(self, limits: Limits) -> pb.Outcome.ValueType:
        """Return what the process died of."""
        if self._killed_by is not None:
            return self._killed_by
        if not self.meter.exiting():
            self._signal(signal.SIGKILL)  # it closed its socket and lives on
            return pb.OUTCOME_CRASHED
        try:
            async with asyncio.timeout(_END_SECONDS):
                end = await asyncio.shield(self._ended)
        except TimeoutError:
            end = None
        if end is None:  # the reaper has gone, and its sandboxes with it
            return pb.OUTCOME_SANDBOX_FAILED
        self._cpu, self._peak = end.cpu_ms / 1e3, end.peak_memory_bytes
        return self._diagnose(end, limits)

    def _diagnose(self, end: Exit, limits: Limits) -> pb.Outcome.ValueType:
        by_signal = os.WTERMSIG(end.status) if os.WIFSIGNALED(end.status) else None
        if by_signal == signal.SIGSYS:
            return pb.OUTCOME_POLICY_VIOLATION
        if by_signal == signal.SIGXCPU:
            return pb.OUTCOME_CPU_TIMEOUT
        if by_signal is not None and end.peak_memory_bytes - self._resident >= _NEAR * limits.memory_bytes:
            return pb.OUTCOME_OUT_OF_MEMORY
        # Nothing in a sandbox can send SIGKILL: it was the kernel short of memory, or somebody on the host.
        return pb.OUTCOME_SANDBOX_FAILED if by_signal == signal.SIGKILL else pb.OUTCOME_CRASHED

    def _read_control(self) -> None:
        try:
            data = self._control.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._hang_up()
            return
        if self._answer.done():  # an answer to no question, or the beginning of one, which would be kept
            self._kill(pb.OUTCOME_CRASHED)
            return
        try:
            message = self._decoder.feed(data, self._frame_limit)
        except frames.MalformedFrame:
            self._kill(pb.OUTCOME_CRASHED)
            return
        if message is not None:
            self._answer.set_result(message)

    def _hang_up(self) -> None:
        self._loop.remove_reader(self._control)
        self._hung_up = True
        if not self._answer.done():
            self._answer.set_result(None)

    def _read_output(self, descriptor: int) -> bool:
        """Take what is in the pipe and return whether there may be more."""
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._loop.remove_reader(descriptor)
            return False
        self._written += len(data)
        self._texts[descriptor].feed(data)
        if self._written > _OUTPUT_KILL_BYTES:
            self._kill(pb.OUTCOME_OUTPUT_LIMIT)
            return False
        return True

    def _drain(self, descriptor: int) -> None:
        while self._read_output(descriptor):
            pass

    def close(self) -> None:
        """Kill the process and let go of all that belongs to it."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for descriptor in (*self._streams, self._control.fileno()):
            self._loop.remove_reader(descriptor)
        if self._pidfd >= 0:
            self._signal(signal.SIGKILL)
            os.close(self._pidfd)
        if self._meter is not None:
            self._meter.close()
        self._control.close()
        for descriptor in self._streams:
            os.close(descriptor)

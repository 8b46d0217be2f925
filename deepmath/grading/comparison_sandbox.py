"""Sandboxes for comparisons, for callers without an event loop.

Theory of operation. math-verify and sympy evaluate what a model wrote, so a comparison is the execution of hostile
code and gets everything that a snippet gets: a process of its own, forked from a zygote that has loaded the libraries,
locked down by the kernel (`docs/security.md`), measured, and killed. No process sees a second pair, so none can change
the verdict on another. The pair goes in as data, a JSON text in an ASCII literal. The first comparison starts the pool,
on an event loop in a thread of its own: most answers are decided without one.
"""

import json
import logging
import os
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from threading import Lock
from typing import Any, TypeVar, cast, get_args

from deepmath.errors import InvalidRequest, Unavailable
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.background_loop import BackgroundLoop, ClosedError
from deepmath.sandbox.isolation.layers import Level, RequestedLevel
from deepmath.sandbox.limits import Limits
from deepmath.sandbox.preload_set import PreloadSet
from deepmath.sandbox.supervisor.fork_server import PreloadFailed
from deepmath.sandbox.supervisor.memory_budget import MemoryBudget
from deepmath.sandbox.supervisor.native_backend import NativeBackend
from deepmath.sandbox.supervisor.sandbox_pool import SandboxPool

_PROGRAM = "deepmath.grading.sandboxed_comparison"
_PRELOAD = PreloadSet(("math_verify", "sympy", _PROGRAM), warm_up=f"import {_PROGRAM} as program\nprogram.prepare()")
_LEVEL: RequestedLevel = "best"
_OUTPUT_BYTES = 64
_MEMORY_BYTES = 512 << 20
# Wall-clock time says nothing about an answer, because other processes take it too. This much is a hanging machine.
_WALL_FACTOR, _WALL_EXTRA_S = 8.0, 20.0

_LEVEL_VARIABLE = "DEEPMATH_GRADING_REQUIRE"

T = TypeVar("T")
_log = logging.getLogger(__name__)


def configured_level() -> Level:
    """Return the lowest isolation level that the environment asks for: "pod", as for an executor, by default.

    Raises:
        InvalidRequest: The variable has another value.
    """
    level = os.environ.get(_LEVEL_VARIABLE) or "pod"
    if level not in get_args(Level):
        raise InvalidRequest(f"{_LEVEL_VARIABLE} is {level!r}; set it to one of: {', '.join(get_args(Level))}")
    return cast(Level, level)


class ComparisonSandbox:
    """A pool of sandboxes that starts with the first comparison.

    Args:
        workers: Number of sandboxes kept ready.
        timeout_s: Processor time of one comparison, in seconds.
        required_level: Lowest isolation level to accept.
    """

    needs = "math-verify, which compares answers", "evaluation"
    """The library in the sandboxes with its purpose, and the extra that installs it."""

    def __init__(self, workers: int, timeout_s: float, required_level: Level) -> None:
        self._workers = workers
        self._required_level = required_level
        wall_s = _WALL_FACTOR * timeout_s + _WALL_EXTRA_S
        self._limits = Limits(int(1e3 * wall_s), int(1e3 * timeout_s), _MEMORY_BYTES, _OUTPUT_BYTES)
        self._lock = Lock()
        self._loop: BackgroundLoop | None = None
        self._pool: SandboxPool | None = None
        self._closed = False

    def start(self) -> None:
        """Start the pool if it is not running. From any thread.

        Raises:
            Unavailable: math-verify cannot be loaded, or layers of the required level are missing here.
        """
        with self._lock:
            if self._pool is None and not self._closed:
                self._loop = self._loop or BackgroundLoop()
                try:
                    self._pool = self._loop.run(self._open(self._loop))
                except PreloadFailed as error:
                    library, extra = self.needs
                    raise Unavailable(f"cannot load {library} ({error}); is the extra `{extra}` installed?") from None

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run `work`, which awaits `compare`, on the pool's event loop. From any thread. `close` cancels it."""
        try:
            if self._loop is None:
                work.close()
                raise ClosedError
            return self._loop.submit(work)
        except ClosedError:
            cancelled: Future[T] = Future()
            cancelled.cancel()
            return cancelled

    async def compare(self, *texts: str) -> pb.SnippetResult:
        """Return the result of `sandboxed_comparison.reply` on `texts`, in closed LaTeX, in a sandbox of its own.

        Raises:
            Unavailable: No sandbox could be started.
        """
        return await self.run(f"import {_PROGRAM} as program\nprogram.reply({json.dumps(texts)!a})")

    async def run(self, code: str) -> pb.SnippetResult:
        """Return the result of `code` in a sandbox of its own, as `compare` does."""
        if self._pool is None:
            raise CancelledError
        return await self._pool.run(code, self._limits)

    def close(self) -> None:
        """Kill every sandbox and cancel what was submitted. From any thread."""
        with self._lock:
            self._closed = True
        if self._loop is not None:
            self._loop.close()

    def preload(self) -> PreloadSet:
        """Return what the sandboxes start with."""
        return _PRELOAD

    async def _open(self, loop: BackgroundLoop) -> SandboxPool:
        # With nothing set aside, a second comparison waits until its whole limit is free beside what the service uses.
        memory = MemoryBudget(slots=1, snippet_bytes=1)
        backend = NativeBackend(_LEVEL, preload=self.preload(), allowed_modules=("deepmath",), memory=memory)
        pool = await loop.hold(SandboxPool(backend, self._workers, self._required_level))
        if memory.free_bytes < _MEMORY_BYTES:
            _log.warning(
                "a comparison of answers may use %d MiB, but only %d MiB are free in this container or machine; a "
                "comparison that the kernel kills for that counts as incorrect; raise the memory limit",
                *(_MEMORY_BYTES >> 20, memory.free_bytes >> 20),
            )
        return pool

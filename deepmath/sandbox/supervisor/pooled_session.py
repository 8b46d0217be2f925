"""Session of a library user: snippets in order, in one sandbox of a pool."""

from collections.abc import Awaitable, Callable

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.limits import Limits
from deepmath.sandbox.supervisor.sandbox_process import Sandbox
from deepmath.sandbox.supervisor.snippet import Snippet


class PooledSession:
    """Runs snippets that share variables. Create one with `SandboxPool.session`.

    After a result with `state_lost` the sandbox is dead; the next snippet runs in a new one, without the variables.
    """

    def __init__(
        self,
        acquire: Callable[[], Awaitable[Sandbox]],
        release: Callable[[Sandbox], None],
        limits: Limits,
        seed: int,
    ) -> None:
        self._acquire, self._release = acquire, release
        self._limits = limits
        self._seed = seed
        self._sandbox: Sandbox | None = None
        self._sequence = 0

    async def run(self, code: str, limits: Limits | None = None, stdin: str = "") -> pb.SnippetResult:
        """Run `code` with `stdin` as its standard input, and return its result.

        `limits` replaces the pool's default limits for this snippet.

        Whatever the snippet does is an outcome in the result, never an exception.

        Raises:
            Unavailable: No sandbox could be started.
        """
        seed = None
        if self._sandbox is None:
            self._sandbox, seed = await self._acquire(), self._seed
        self._sequence += 1
        result = await self._sandbox.run(Snippet(self._sequence, code, limits or self._limits, seed, stdin=stdin))
        if result.state_lost:
            self.close()
        return result

    def close(self) -> None:
        """Kill the sandbox."""
        if self._sandbox is not None:
            self._release(self._sandbox)
            self._sandbox = None

"""Connection for synchronous programs and notebooks: the asynchronous one, in an event loop of its own."""

import weakref
from pathlib import Path
from typing import Self, TypedDict, Unpack

from deepmath.sandbox.background_loop import BackgroundLoop
from deepmath.sdk.async_connection import AsyncCodeSession, AsyncConnection, RunOptions
from deepmath.sdk.results import CodeResult, Solution


class SolveOptions(TypedDict, total=False):
    """The keyword arguments of `AsyncConnection.solve`."""

    samples: int
    python: bool
    temperature: float | None
    top_p: float | None
    top_k: int | None
    seed: int | None
    max_tokens: int | None
    max_steps: int | None
    wall_seconds: float | None


class ConnectOptions(TypedDict, total=False):
    """The keyword arguments of `AsyncConnection`."""

    executor: str | None
    model: str | None
    adapter: str | None
    prompt: str | None
    dialect: str | None
    tls: str | Path | None
    token_file: str | Path | None


class CodeSession:
    """A sandbox whose variables live between runs. A context manager; see `AsyncCodeSession`."""

    def __init__(self, loop: BackgroundLoop, sandbox: AsyncCodeSession) -> None:
        self._loop, self._sandbox = loop, sandbox

    def run(self, code: str, **options: Unpack[RunOptions]) -> CodeResult:
        """Run Python code and return its result; arguments and errors are those of `AsyncCodeSession.run`."""
        return self._loop.run(self._sandbox.run(code, **options))

    def close(self) -> None:
        """End the sandbox."""
        if not self._loop.closed:
            self._loop.run(self._sandbox.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Connection:
    """Solves problems and runs code: `with connect() as math: math.solve(...)`. Threads may share it.

    Arguments, and how services are found or started, are those of `AsyncConnection`. Ctrl-C cancels the call, and ends
    its work in the services. A context manager; garbage collection and the program's exit close it too.

    Raises:
        InvalidRequest: An argument is not valid.
    """

    def __init__(self, generator: str | None = None, **options: Unpack[ConnectOptions]) -> None:
        self._connection = AsyncConnection(generator, **options)
        self._loop = BackgroundLoop()
        self._close = weakref.finalize(self, self._loop.close)
        self._loop.run(self._loop.hold(self._connection))

    def solve(self, question: str, **options: Unpack[SolveOptions]) -> Solution:
        """Solve a question; arguments and errors are those of `AsyncConnection.solve`."""
        return self._loop.run(self._connection.solve(question, **options))

    def run(self, code: str, *, seed: int = 0, **options: Unpack[RunOptions]) -> CodeResult:
        """Run Python code in a fresh sandbox; arguments, result and errors are those of `AsyncCodeSession.run`."""
        return self._loop.run(self._connection.run(code, seed=seed, **options))

    def session(self, seed: int = 0) -> CodeSession:
        """Return a sandbox whose variables live between runs; it opens with its first run.

        `seed` is that of `random` and `numpy.random` in the sandbox.
        """
        return CodeSession(self._loop, self._connection.session(seed))

    def close(self) -> None:
        """Cancel calls in flight, and stop the services that were started here. Idempotent."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""Connection for asyncio programs."""

from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack, cast

from deepmath.clients import ExecutorSession, HostFunction, OutputHandler
from deepmath.executor.v1 import executor_pb2
from deepmath.generator.v1 import generator_pb2
from deepmath.sdk.results import CodeResult, Solution
from deepmath.sdk.service_access import ServiceAccess, ServiceChoice


class RunOptions(TypedDict, total=False):
    """The keyword arguments of `AsyncCodeSession.run`."""

    wall_seconds: float | None
    memory_mib: int | None
    functions: Mapping[str, HostFunction] | None
    on_output: OutputHandler | None


class AsyncCodeSession:
    """A sandbox whose variables live between runs. An asynchronous context manager; one run at a time.

    If its executor dies, the code so far is replayed on another.
    """

    def __init__(self, access: ServiceAccess, seed: int) -> None:
        self._access, self._seed = access, seed
        self._session: ExecutorSession | None = None

    async def run(
        self,
        code: str,
        *,
        wall_seconds: float | None = None,
        memory_mib: int | None = None,
        functions: Mapping[str, HostFunction] | None = None,
        on_output: OutputHandler | None = None,
    ) -> CodeResult:
        """Run Python code and return its result, also if the code fails.

        Args:
            code: Source text. The value of the last expression is part of the result.
            wall_seconds: Limit of the run. Default: the executor's.
            memory_mib: Limit of the sandbox. Default: the executor's.
            functions: Functions of this process that the code may call. They must be safe with any arguments.
            on_output: Called with `stdout` or `stderr` and each part of that output, while the code runs. By the end it
                has received all of it, in order. It should return at once; a synchronous connection calls it in
                another thread.

        Raises:
            InvalidRequest: The code or a limit is not valid.
            Unavailable: No executor ran the code, which says nothing about it.
        """
        if self._session is None:
            self._session = (await self._access.executor()).session(self._seed)
        limits = executor_pb2.Limits(wall_ms=_milliseconds(wall_seconds) or 0, memory_bytes=(memory_mib or 0) << 20)
        return CodeResult.of(await self._session.run(code, limits, host_functions=functions, on_output=on_output))

    async def close(self) -> None:
        """End the sandbox."""
        if self._session:
            await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncConnection:
    """Solves problems and runs code: `async with connect_async() as math: await math.solve(...)`.

    Services are found or started when they are first needed: those at the given addresses, or those of the detached
    stack (`deepmath up --detach`), or new ones that stop with the connection. A generator takes half a minute or more
    to start, an executor a second.

    An asynchronous context manager, for tasks of one event loop. Cancelling a call ends its work in the services.

    Args:
        generator: Address of a running generator: HOST:PORT or unix:PATH.
        executor: Address of a running executor, for `run` and `session`, and for a generator that is started here.
        model: Model directory or hub name for a generator on this machine. Default: the embedded model, or whatever
            the detached stack serves.
        adapter: Directory of a LoRA adapter for it.
        prompt: Prompt template for it: a name or a file.
        dialect: How the model writes calls. Default: by the prompt template or the model.
        tls: Folder with tls.crt, tls.key and ca.crt. Default: DEEPMATH_TLS.
        token_file: File with a token. Default: DEEPMATH_TOKEN_FILE.

    Raises:
        InvalidRequest: An argument is not valid.
    """

    def __init__(
        self,
        generator: str | None = None,
        *,
        executor: str | None = None,
        model: str | None = None,
        adapter: str | None = None,
        prompt: str | None = None,
        dialect: str | None = None,
        tls: str | Path | None = None,
        token_file: str | Path | None = None,
    ) -> None:
        self._access = ServiceAccess(
            ServiceChoice(generator, executor, model, adapter, prompt, dialect, tls, token_file)
        )

    async def solve(
        self,
        question: str,
        *,
        samples: int = 1,
        python: bool = True,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        seed: int | None = None,
        max_tokens: int | None = None,
        max_steps: int | None = None,
        wall_seconds: float | None = None,
    ) -> Solution:
        """Solve a question. Defaults of sampling and budget are the generator's.

        Args:
            question: The problem as text.
            samples: Number of independent samples, 1 to 1024; the majority answers.
            python: Whether the model may run Python.
            temperature: From 0 (greedy) to 2.
            top_p: Nucleus sampling, in (0, 1].
            top_k: Top-k sampling; 0 is off.
            seed: The same seed gives the same samples, as far as the engine's batching leaves its arithmetic unchanged.
            max_tokens: Token budget of a sample, tool output included.
            max_steps: Step budget of a sample.
            wall_seconds: Time budget of a sample.

        Raises:
            InvalidRequest: The question or an argument is not valid.
            Unavailable: The services cannot be reached, or every sample was lost to an infrastructure failure.
            Overloaded: The generator has no capacity.
        """
        client = await self._access.generator()
        events = client.solve(
            question,
            samples=samples,
            mode=generator_pb2.MODE_AGENT if python else generator_pb2.MODE_PLAIN,
            sampling=generator_pb2.Sampling(temperature=temperature, top_p=top_p, top_k=top_k, seed=seed),
            budget=generator_pb2.Budget(
                max_tokens=max_tokens, max_steps=max_steps, wall_ms=_milliseconds(wall_seconds)
            ),
        )
        async with aclosing(cast(Any, events)):
            return Solution.of(question, [event async for event in events])

    async def run(self, code: str, *, seed: int = 0, **options: Unpack[RunOptions]) -> CodeResult:
        """Run Python code in a fresh sandbox; arguments, result and errors are those of `AsyncCodeSession.run`."""
        async with self.session(seed) as sandbox:
            return await sandbox.run(code, **options)

    def session(self, seed: int = 0) -> AsyncCodeSession:
        """Return a sandbox whose variables live between runs; it opens with its first run.

        `seed` is that of `random` and `numpy.random` in the sandbox.
        """
        return AsyncCodeSession(self._access, seed)

    async def close(self) -> None:
        """End calls in flight, and stop the services that were started here. Idempotent."""
        await self._access.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else max(1, round(1000 * seconds))

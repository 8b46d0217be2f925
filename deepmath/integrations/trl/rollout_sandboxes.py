"""The sandboxes of a trainer's rollouts, for its synchronous calls."""

import logging
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from deepmath.clients import ExecutorSession
from deepmath.dialects.call_code import python_source
from deepmath.dialects.result_text import render_result
from deepmath.errors import DeepMathError, Forbidden, InvalidRequest, TlsMismatch, Unauthenticated
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.integrations.trl.failed_rollouts import SandboxUnavailable
from deepmath.sandbox.background_loop import BackgroundLoop, ClosedError
from deepmath.sdk.service_access import ServiceAccess, ServiceChoice

log = logging.getLogger(__name__)


class RolloutSandboxes:
    """Sandboxes on an executor: the given one, or that of the detached stack, or one that is started here.

    A context manager, which ends them; so do garbage collection and the program's exit.

    Args:
        executor: Address, HOST:PORT or unix:PATH.
        tls: Folder with tls.crt, tls.key and ca.crt. Default: DEEPMATH_TLS.
        token_file: File with a token. Default: DEEPMATH_TOKEN_FILE.
        wall_seconds: Limit of one snippet.
        patience_seconds: Timeout for reaching an executor with capacity. TRL runs the calls of a batch one after the
            other, and each waits as long.

    Raises:
        InvalidRequest: The address is not valid, or a file is unusable.
    """

    def __init__(
        self,
        executor: str | None = None,
        *,
        tls: str | Path | None = None,
        token_file: str | Path | None = None,
        wall_seconds: float = 20.0,
        patience_seconds: float = 60.0,
    ) -> None:
        choice = ServiceChoice(executor=executor, tls=tls, token_file=token_file, patience_s=patience_seconds)
        self._limits = pb.Limits(wall_ms=max(1, round(1000 * wall_seconds)))
        self._refusal: DeepMathError | None = None
        self._loop = BackgroundLoop()
        self._close = weakref.finalize(self, self._loop.close)
        self._access = self._loop.run(self._loop.hold(ServiceAccess(choice)))
        if executor:
            self._loop.run(self._access.executor())  # checks the address; nothing is called yet

    def open(self) -> "RolloutSandbox":
        """Return a sandbox whose variables live between calls. It starts with the first call.

        Raises:
            DeepMathError: The executor has refused an earlier call for what waiting does not change, such as its token.
        """
        if self._refusal:
            raise self._refusal
        return RolloutSandbox(self)

    def tool(self) -> Callable[[str], str]:
        """Return a function for TRL's `tools`. Each call has a sandbox of its own."""

        def python(code: str) -> str:
            """Run Python in a sandbox and return what it prints, followed by the value of its last expression.

            Args:
                code: Python code.
            """
            with self.open() as sandbox:
                return sandbox.run(code)

        return python

    def close(self) -> None:
        """End all sandboxes. Idempotent."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def new_session(self) -> ExecutorSession:
        """Return a session on the executor, which is started if there is none."""
        return (await self._access.executor()).session(session_id="trl")

    def run_in(self, sandbox: "RolloutSandbox", code: str) -> pb.SnippetResult:
        """Run code in a sandbox. Raises what `ExecutorSession.run` does."""
        try:
            return self._loop.run(sandbox.run_async(code, self._limits))
        except (Unauthenticated, Forbidden, TlsMismatch) as error:
            self._refusal = error
            raise

    def end(self, sandbox: "RolloutSandbox") -> None:
        """End a sandbox, without waiting for it."""
        with suppress(ClosedError):
            self._loop.submit(sandbox.close_async())


class RolloutSandbox:
    """The sandbox of one rollout. A context manager."""

    def __init__(self, owner: RolloutSandboxes) -> None:
        self._owner = owner
        self._session: ExecutorSession | None = None
        self._failure: SandboxUnavailable | None = None

    @property
    def failed(self) -> bool:
        """Whether an infrastructure failure has kept a call from its result."""
        return self._failure is not None

    def run(self, code: str) -> str:
        """Run code, which may have a Markdown fence around it, and return its output as the model reads it.

        Raises:
            SandboxUnavailable: No executor ran it, or one of the calls before it.
        """
        if self._failure:
            raise self._failure
        try:
            return render_result(self._owner.run_in(self, python_source(code)))
        except InvalidRequest as error:  # a mistake of the model's: too long, or no Unicode
            return f"Error: {error}"
        except DeepMathError as error:
            log.warning("a rollout is left out of the loss: %s", error)
            self._failure = SandboxUnavailable()
            raise self._failure from error

    async def run_async(self, code: str, limits: pb.Limits) -> pb.SnippetResult:
        """Run code in the session, which opens with the first. Raises what `ExecutorSession.run` does."""
        if self._session is None:
            self._session = await self._owner.new_session()
        return await self._session.run(code, limits)

    async def close_async(self) -> None:
        """End the session."""
        if self._session:
            await self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._owner.end(self)

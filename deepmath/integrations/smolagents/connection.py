"""A session on an executor, its own or one that runs already, for callers that are not asynchronous."""

import threading
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from deepmath.clients import ExecutorClient
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.integrations.background_loop import BackgroundLoop
from deepmath.stack import LocalStack

_CLIENT_NAME = "smolagents"

Result = TypeVar("Result")


class Connection:
    """Opened when it is made. `address` is the executor's, `info` what it says of itself.

    Raises:
        Unavailable: no executor answers at `address`, or one of our own (None) cannot be started.
        InvalidRequest: `address` or `seed` is none.
    """

    def __init__(
        self, address: str | None, seed: int, patience_s: float, tls: Path | None, token_file: Path | None
    ) -> None:
        self._loop = BackgroundLoop()
        self._stack = AsyncExitStack()
        self.closed = False
        try:
            self.run(self._open(address, seed, patience_s, tls, token_file))
        except BaseException:
            self.close()
            raise

    async def _open(
        self, address: str | None, seed: int, patience_s: float, tls: Path | None, token_file: Path | None
    ) -> None:
        enter = self._stack.enter_async_context
        stack = await enter(LocalStack(executor=address))
        self.address = stack.executor
        # Nobody has to prove to the one of our own, on a private socket, who calls.
        given = {"tls": tls, "token_file": token_file} if address else {}
        client = await enter(ExecutorClient(stack.executor, patience_s, _CLIENT_NAME, **given))
        self.info: pb.GetInfoResponse = await client.get_info()
        self.session = await enter(client.session(seed))

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run `work` in the connection's loop and return its result.

        Raises:
            concurrent.futures.CancelledError: the connection was closed meanwhile.
        """
        return self._loop.run(work)

    def close(self) -> None:
        """End what runs, the session, and the executor if it is our own."""
        if self._loop.is_here:  # the garbage collector may run in any thread
            threading.Thread(target=self.close, daemon=True).start()
            return
        if self.closed:
            return
        self.closed = True
        self._loop.cancel()
        self._loop.run(self._stack.aclose())
        self._loop.close()

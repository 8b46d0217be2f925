"""A daemon thread per tool call."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


async def run_in_thread(function: Callable[[], Result], context: contextvars.Context) -> Result:
    """Run a blocking `function` in a new thread, in a copy of `context`, and return its result.

    Unlike the threads of `asyncio.to_thread`, this one does not delay the exit of the program. A thread cannot be
    killed: it continues if the caller is cancelled, and its result is dropped.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: Exception | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, error = None, None
        try:
            result = context.copy().run(function)
        except BaseException as raised:
            error = _as_error(raised)
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop is closed
            pass

    threading.Thread(target=work, name="deepmath-tool", daemon=True).start()
    return await done


def _as_error(raised: BaseException) -> Exception:
    """Return `raised`, or a RuntimeError in place of one that would end the loop or a generator."""
    if isinstance(raised, Exception) and not isinstance(raised, StopIteration):
        return raised
    return RuntimeError(f"{type(raised).__name__}: {raised}")

"""A thread for each call of a tool."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


async def in_thread(function: Callable[[], Result], context: contextvars.Context) -> Result:
    """Run a `function` that may block in a new thread, and return its result.

    A thread cannot be ended. It goes on where the caller no longer waits, and does not keep the program from ending:
    that is why `asyncio.to_thread` will not do.
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
            error = raised if isinstance(raised, Exception) and not isinstance(raised, StopIteration) else _told(raised)
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop was closed meanwhile
            pass

    threading.Thread(target=work, name="deepmath-tool", daemon=True).start()
    return await done


def _told(raised: BaseException) -> RuntimeError:
    """What would end the loop, or a generator, as an error that does not."""
    return RuntimeError(f"{type(raised).__name__}: {raised}")

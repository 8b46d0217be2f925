"""Response streams fed by a task, which is cancelled when the call ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

Message = TypeVar("Message")
Send = Callable[[Message], None]


async def stream_responses(
    produce: Callable[[Send[Message]], Coroutine[Any, Any, None]], context: Any
) -> AsyncIterator[Message]:
    """Run `produce` as a task and yield the messages that it sends.

    The task is cancelled when the call ends for any reason; its exception, if it has one, is raised here.
    """
    sent: asyncio.Queue[Message | None] = asyncio.Queue()
    task = asyncio.create_task(produce(sent.put_nowait))
    task.add_done_callback(lambda _: sent.put_nowait(None))
    context.add_done_callback(lambda _: task.cancel())
    while (message := await sent.get()) is not None:
        yield message
    await task

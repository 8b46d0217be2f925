"""Time for which a stack has had nothing to do, measured at its services."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeAlias

from deepmath.clients import ExecutorClient, GeneratorClient
from deepmath.clients.idle_time import idle_seconds
from deepmath.local_stack.stack_record import StackRecord

Clients: TypeAlias = Sequence[ExecutorClient | GeneratorClient]


@asynccontextmanager
async def stack_clients(record: StackRecord) -> AsyncIterator[Clients]:
    """Yield clients of the services of a stack, for a block."""
    async with AsyncExitStack() as block:
        clients: list[ExecutorClient | GeneratorClient] = [
            await block.enter_async_context(ExecutorClient(record.executor))
        ]
        if record.generator:
            clients.append(await block.enter_async_context(GeneratorClient(record.generator)))
        yield clients


async def stack_idle_seconds(clients: Clients) -> float:
    """Return the time since the last call of any of these services ended, in seconds; 0 while one is in flight.

    Raises:
        DeepMathError: A service did not answer.
    """
    return min(await asyncio.gather(*map(idle_seconds, clients)))

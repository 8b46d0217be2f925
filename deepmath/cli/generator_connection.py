"""Connection of a command to its generator: a running one, or one on a local stack started for the command."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deepmath.cli.shared_options import STARTING_STACK
from deepmath.clients import ExecutorClient, GeneratorClient
from deepmath.local_stack.stack import LocalStack


@asynccontextmanager
async def connect_generator(
    address: str | None, executor: str | None, model: str, arguments: list[str], quiet: bool = False
) -> AsyncIterator[GeneratorClient]:
    """Yield a client of the generator at `address`; without one, of a local stack that stops with the block.

    Raises:
        Unavailable: The generator or the executor is unreachable, or the stack does not start.
    """
    if address:
        async with GeneratorClient(address) as client:
            yield client
        return
    if executor:
        async with ExecutorClient(executor) as probe:
            await probe.get_info()  # fail before the model is loaded
    if not quiet:
        print(STARTING_STACK, file=sys.stderr, flush=True)
    async with (
        LocalStack(model, executor=executor, arguments={"generator": arguments}) as stack,
        GeneratorClient(stack.generator) as client,
    ):
        yield client

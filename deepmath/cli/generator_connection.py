"""The generator that a command asks: one that is served somewhere, or one of its own."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepmath.clients import GeneratorClient


@asynccontextmanager
async def reach(
    address: str | None, executor: str | None, model: str, arguments: list[str], quiet: bool = False
) -> "AsyncIterator[GeneratorClient]":
    """A client of the generator at `address`, or of one that lives as long as the block."""
    from deepmath.clients import ExecutorClient, GeneratorClient
    from deepmath.local_stack.stack import LocalStack

    if address:
        async with GeneratorClient(address) as client:
            yield client
        return
    if executor:
        async with ExecutorClient(executor) as reachable:
            await reachable.get_info()  # before a minute is spent on loading a model
    if not quiet:
        print("starting the local stack; loading a model takes half a minute or more", file=sys.stderr, flush=True)
    async with (
        LocalStack(model, executor=executor, arguments={"generator": arguments}) as stack,
        GeneratorClient(stack.generator) as client,
    ):
        yield client

"""Connection of a command to its services: given ones, those of the detached stack, or new ones for the command."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deepmath.cli.shared_options import STARTING_STACK
from deepmath.clients import ExecutorClient, GeneratorClient
from deepmath.local_stack.detached_stack import find_detached
from deepmath.local_stack.stack import LocalStack
from deepmath.local_stack.stack_record import StackRecord, StackSettings
from deepmath.printable_text import print_error


def detached_stack(wanted: StackSettings | None = None) -> StackRecord | None:
    """Return the detached stack if it serves `wanted`, or with None whatever it serves.

    Prints on stderr why an existing one is not used.
    """
    found = find_detached(wanted)
    if found.reason:
        print_error("deepmath", f"{found.reason}; not using it")
    return found.stack


def find_generator(
    generator: str | None, executor: str | None, served: tuple[str, list[str]], *chosen: str | None
) -> str | None:
    """Return the address of a running generator for a command, or None: start one.

    It is the `generator` of the command, or that of the detached stack, if it serves the model and options `served` or
    the command has none of its own: no option in `chosen`.
    """
    if generator or executor:
        return generator
    stack = detached_stack(StackSettings.of(*served) if any(chosen) else None)
    return stack.generator or None if stack else None


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

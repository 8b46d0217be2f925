"""`deepmath up`: the local stack in the foreground."""

import asyncio
import signal
from typing import Annotated

import typer

from deepmath.cli.shared_options import Adapter, Model


def up(
    model: Model = None,
    adapter: Adapter = None,
    executor: Annotated[str, typer.Option(help="Address for the executor.")] = "127.0.0.1:50051",
    generator: Annotated[str, typer.Option(help="Address for the generator.")] = "127.0.0.1:50052",
) -> None:
    """Run executor and generator here until Ctrl-C, and print their addresses."""
    from deepmath.local_stack.stack import generator_options

    listen = {"executor": executor, "generator": generator}
    asyncio.run(_up(listen, *generator_options(model, adapter)))


async def _up(listen: dict[str, str], model: str, options: list[str]) -> None:
    from deepmath.local_stack.stack import LocalStack

    print("starting; loading a model takes half a minute or more", flush=True)
    async with LocalStack(model, listen=listen, arguments={"generator": options}, show_logs=True) as stack:
        print(f"executor   {stack.executor}\ngenerator  {stack.generator}", flush=True)
        print(f'try: deepmath solve --generator {stack.generator} "What is 12 * 34?"', flush=True)
        await _until_asked_or_broken(stack.wait())


async def _until_asked_or_broken(broken: "asyncio._CoroutineLike[None]") -> None:
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    tasks = [asyncio.create_task(asked.wait()), asyncio.create_task(broken)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()

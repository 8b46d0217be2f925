"""`deepmath up`: the local stack in the foreground."""

import asyncio
import signal
from typing import Annotated

import typer

from deepmath.cli.lazy_group import command_app
from deepmath.cli.shared_options import STARTING_STACK, Adapter, Dialect, Model, Prompt
from deepmath.local_stack.stack import LocalStack, generator_options

app = command_app()


@app.command()
def up(
    model: Model = None,
    adapter: Adapter = None,
    prompt: Prompt = None,
    dialect: Dialect = None,
    executor: Annotated[str, typer.Option(help="Listen address of the executor.")] = "127.0.0.1:50051",
    generator: Annotated[str, typer.Option(help="Listen address of the generator.")] = "127.0.0.1:50052",
) -> None:
    """Run an executor and a generator on this machine until Ctrl-C. Prints their addresses."""
    listen = {"executor": executor, "generator": generator}
    asyncio.run(_run_stack(listen, *generator_options(model, adapter, prompt, dialect)))


async def _run_stack(listen: dict[str, str], model: str, options: list[str]) -> None:
    print(STARTING_STACK, flush=True)
    async with LocalStack(model, listen=listen, arguments={"generator": options}, show_logs=True) as stack:
        print(f"executor   {stack.executor}\ngenerator  {stack.generator}", flush=True)
        print(f'try: deepmath solve --generator {stack.generator} "What is 12 * 34?"', flush=True)
        await _wait_for_signal_or_failure(stack)


async def _wait_for_signal_or_failure(stack: LocalStack) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tasks = [asyncio.create_task(stop.wait()), asyncio.create_task(stack.wait())]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()

"""`deepmath up`: the local stack in the foreground, or detached."""

import asyncio
import signal
from functools import partial
from typing import Annotated

import typer

from deepmath.cli.lazy_group import command_app
from deepmath.cli.shared_options import STARTING_STACK, Adapter, Dialect, Model, Prompt
from deepmath.cli.stack_status import show_stack, show_status
from deepmath.errors import InvalidRequest
from deepmath.exit_codes import EXIT_FAILURE
from deepmath.local_stack.detached_stack import DEFAULT_IDLE_S, start_detached
from deepmath.local_stack.service_distributions import installed_version
from deepmath.local_stack.stack import LocalStack, figure_options, generator_options
from deepmath.local_stack.stack_record import StackSettings
from deepmath.printable_text import print_error

app = command_app()

EXECUTOR, GENERATOR, GATEWAY = "127.0.0.1:50051", "127.0.0.1:50052", "127.0.0.1:50053"


@app.command()
def up(
    model: Model = None,
    adapter: Adapter = None,
    prompt: Prompt = None,
    dialect: Dialect = None,
    executor: Annotated[
        str | None, typer.Option(help=f"Listen address of the executor. Default: {EXECUTOR}.", show_default=False)
    ] = None,
    generator: Annotated[
        str | None, typer.Option(help=f"Listen address of the generator. Default: {GENERATOR}.", show_default=False)
    ] = None,
    gateway: Annotated[
        str | None, typer.Option(help=f"Listen address of the gateway. Default: {GATEWAY}.", show_default=False)
    ] = None,
    executor_only: Annotated[
        bool, typer.Option("--executor-only", help="No generator: for `deepmath exec` and the sandbox from Python.")
    ] = False,
    detach: Annotated[
        bool,
        typer.Option(
            "--detach", help="Keep the stack running on unix sockets: later commands use it until `deepmath down`."
        ),
    ] = False,
    idle_seconds: Annotated[
        float,
        typer.Option(min=0, help="With --detach: stop after this time without calls, in seconds; 0: never."),
    ] = DEFAULT_IDLE_S,
    status: Annotated[
        bool, typer.Option("--status", help="Show the detached stack and exit; exit status 1 if none runs.")
    ] = False,
) -> None:
    """Run an executor, a generator and a gateway on this machine until Ctrl-C. Prints their addresses."""
    if status:
        raise typer.Exit(0 if show_status() else EXIT_FAILURE)
    if detach and (executor or generator or gateway):
        raise InvalidRequest(
            "a detached stack serves on unix sockets of its own; leave out --executor, --generator and --gateway"
        )
    if executor_only and (generator or model or adapter or prompt or dialect):
        raise InvalidRequest("--executor-only starts no generator; leave out the generator's options")
    served, options = ("", []) if executor_only else generator_options(model, adapter, prompt, dialect)
    if detach:
        settings = StackSettings.of(served, options) if served else StackSettings()
        show_stack(start_detached(settings, idle_seconds, partial(print_error, "deepmath")))
        return
    listen = {"executor": executor or EXECUTOR} | ({} if executor_only else {"generator": generator or GENERATOR})
    if gateway or installed_version("gateway"):
        listen["gateway"] = gateway or GATEWAY
    asyncio.run(_run_stack(listen, served, options))


async def _run_stack(listen: dict[str, str], model: str, options: list[str]) -> None:
    if model:
        print(STARTING_STACK, flush=True)
    arguments = {"generator": options, "executor": figure_options()}
    async with LocalStack(model or None, listen=listen, arguments=arguments, show_logs=True) as stack:
        print(f"executor   {stack.executor}", flush=True)
        if model:
            print(f"generator  {stack.generator}", flush=True)
        if stack.gateway:
            print(f"gateway    http://{stack.gateway}", flush=True)
        if model:
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

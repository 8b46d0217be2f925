"""`deepmath train`: a run of GRPO, from the check of its configuration to the adapter, live on screen."""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepmath.exit_codes import EXIT_FAILURE, EXIT_INTERRUPTED

if TYPE_CHECKING:
    from deepmath.cli.training_views import View
    from deepmath.clients import TrainerClient
    from deepmath.trainer.v1 import trainer_pb2 as pb

_AWAY_S = 60.0  # a trainer that is being restarted
_DEFAULT_LORA_RANK = 32
_DEFAULT_RECIPE = "tiny-math"


def train(
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="Over the configuration, such as optimizer.steps=50.", metavar="KEY=VALUE"),
    ] = None,
    config: Annotated[
        str | None, typer.Option(help=f"A YAML file, or the name of a recipe. Default: {_DEFAULT_RECIPE}.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the run. Default: one that is free.", show_default=False)] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run --name from its checkpoint.")] = False,
    go_on: Annotated[
        bool, typer.Option("--go-on", help="Go on with the run --name where there is one, else begin it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, print the whole configuration, and end.")] = False,
    trainer: Annotated[str | None, typer.Option(help="Address of a trainer. Default: one is started.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of the runs of a trainer that is started.")] = Path("runs"),
    as_json: Annotated[
        bool, typer.Option("--json", help="One object for each thing that happens, a line each.")
    ] = False,
) -> None:
    """Teach a model by reinforcement: GRPO on problems with known answers.

    The configuration is checked, data and generators included, before any model is loaded. Without `generators` in it
    a generator and an executor are started here. Ctrl-C writes a checkpoint; --resume --name NAME goes on from it.
    Everything of the run is kept in runs/NAME: the adapter, plots, metrics, traces, checkpoints.
    """
    from deepmath.errors import InvalidRequest
    from deepmath.serving.service_process import exit_on_sigterm

    exit_on_sigterm()
    if go_on and not name:
        raise InvalidRequest("say which run to begin or to go on with: --go-on --name NAME")
    request: dict[str, Any] = {"overrides": settings or [], "name": name, "resume": resume}
    if config or not resume:
        request |= _source(config or _DEFAULT_RECIPE)
    run = asyncio.run(_train(request, trainer, runs, dry_run, as_json, go_on))
    raise typer.Exit(0 if run is None else _status(run))


def _source(config: str) -> dict[str, str]:
    """Return the text of a file here, or the name of a recipe of the trainer."""
    from deepmath.errors import InvalidRequest

    if not Path(config).exists():
        return {"recipe": config}
    try:
        return {"config_yaml": Path(config).read_text(encoding="utf-8")}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidRequest(f"cannot read {config}: {reason}") from None


def _status(run: "pb.Run") -> int:
    from deepmath.trainer.v1 import trainer_pb2 as pb

    return {pb.STATUS_DONE: 0, pb.STATUS_STOPPED: EXIT_INTERRUPTED}.get(run.status, EXIT_FAILURE)


async def _train(
    request: dict[str, Any], trainer: str | None, runs: Path, dry_run: bool, as_json: bool, go_on: bool
) -> "pb.Run | None":
    from deepmath.cli.training_views import show_end, view
    from deepmath.clients import TrainerClient
    from deepmath.local_stack.local_services import LocalServices

    async with AsyncExitStack() as block:
        local = await block.enter_async_context(LocalServices())
        address = trainer or await local.start("trainer", "--runs", str(runs))
        client = await block.enter_async_context(TrainerClient(address))
        if go_on:
            request["resume"] |= request["name"] in [run.name for run in await client.list_runs()]
        plan = await client.start_run(**request, dry_run=True)
        for note in plan.notes:
            _tell(note)
        if dry_run:
            print(plan.run.config_yaml, end="")
            return None
        if not plan.needs.addresses:
            generator = await _start_generator(block, plan.needs)
            request["overrides"] = [*request["overrides"], f"generators=['{generator}']"]
        run = (await client.start_run(**request | {"name": plan.run.name})).run
        _tell(f"run {run.name}, in {run.folder}")
        run = await _follow(client, run.name, view(as_json))
    if not as_json:
        show_end(run, _resume_command(run.name, trainer, runs))
    return run


async def _start_generator(block: AsyncExitStack, needs: "pb.GeneratorNeeds") -> str:
    """Start what solves the problems, for as long as `block` lasts, and return its address."""
    from deepmath.local_stack.stack import EMBEDDED_MODEL, LocalStack, generator_options

    model = None if needs.model == str(EMBEDDED_MODEL) else needs.model
    served, options = generator_options(model, None, needs.prompt or None)
    if needs.lora_rank > _DEFAULT_LORA_RANK:
        options += ["--max-lora-rank", str(needs.lora_rank)]
    if needs.checkpoint_root:
        options += ["--checkpoint-root", needs.checkpoint_root]
    _tell("starting executor and generator; loading a model takes half a minute or more")
    return (await block.enter_async_context(LocalStack(served, arguments={"generator": options}))).generator


async def _follow(client: "TrainerClient", name: str, view: "View") -> "pb.Run":
    """Show what happens in the run until it has ended, which Ctrl-C makes it do, and return it."""
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    with view:
        watching = asyncio.create_task(_watch(client, name, view))
        asking = asyncio.create_task(asked.wait())
        await asyncio.wait([watching, asking], return_when=asyncio.FIRST_COMPLETED)
        asking.cancel()
        if not watching.done():
            view.tell("stopping: a checkpoint is written, which may take a minute")
            await client.stop_run(name)
        return await watching


async def _watch(client: "TrainerClient", name: str, view: "View") -> "pb.Run":
    """Show what happens, across an absence of the trainer, and return the run when it has ended."""
    from deepmath.clients.backoff import pauses
    from deepmath.errors import Unavailable

    loop = asyncio.get_running_loop()
    run, step = None, 0
    end, again = loop.time() + _AWAY_S, pauses()
    while True:
        try:
            async for update in client.watch_run(name, from_step=step + 1):
                view.show(update)
                run = update.run if update.HasField("run") else run
                step = max(step, update.metrics.step)
                end, again = loop.time() + _AWAY_S, pauses()
        except Unavailable:
            if loop.time() > end:
                raise
            await asyncio.sleep(next(again))
        else:
            assert run is not None  # the first update
            return run


def _resume_command(name: str, trainer: str | None, runs: Path) -> str:
    where = f" --trainer {trainer}" if trainer else f" --runs {runs}" if runs != Path("runs") else ""
    return f"deepmath train --resume --name {name}{where}"


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

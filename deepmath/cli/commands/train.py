"""`deepmath train`: a GRPO run, from the validation of its configuration to the adapter, shown live."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from deepmath.cli.lazy_group import command_app
from deepmath.cli.output_streams import unblocked_streams, wait_until_written
from deepmath.cli.shared_options import PATH
from deepmath.cli.training_session import TrainingSession
from deepmath.cli.training_views import notify
from deepmath.errors import DeepMathError, InvalidRequest
from deepmath.exit_codes import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_USAGE
from deepmath.trainer.v1 import trainer_pb2 as pb
from deepmath.user_files import read_text, user_path

app = command_app()

_DEFAULT_RECIPE = "tiny-math"
_EXIT_STATUS = {pb.STATUS_DONE: 0, pb.STATUS_STOPPED: EXIT_INTERRUPTED}


@app.command()
def train(
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            help="Settings that override the configuration, such as optimizer.steps=50.", metavar="KEY=VALUE"
        ),
    ] = None,
    config: Annotated[
        str | None, typer.Option(help=f"YAML file, or name of a recipe. Default: {_DEFAULT_RECIPE}.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the run. Default: an unused name.", show_default=False)] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run --name from its last checkpoint.")] = False,
    go_on: Annotated[
        bool, typer.Option("--go-on", help="Resume the run --name if it exists, otherwise start it.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate, print the complete configuration, and exit.")
    ] = False,
    trainer: Annotated[str | None, typer.Option(help="Trainer address. Default: start a trainer.")] = None,
    runs: Annotated[
        Path, typer.Option(help="Output folder for runs of a trainer that is started here.", **PATH)
    ] = Path("runs"),
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON object per update. Logs of the services started here go to stderr."
        ),
    ] = False,
) -> None:
    """Fine-tune a model with GRPO on problems with known answers.

    The configuration, its data and its generators are validated before a model is loaded. The run waits for generators
    that are not ready. Without `generators` in the configuration, a generator and an executor are started here. Ctrl-C
    writes a checkpoint; --resume --name NAME resumes from it. The folder runs/NAME holds the adapter, plots, metrics,
    traces and checkpoints.
    """
    if go_on and not name:
        raise InvalidRequest("--go-on needs the name of the run to start or resume: --go-on --name NAME")
    request: dict[str, Any] = {"overrides": settings or [], "name": name, "resume": resume}
    if config or not resume:
        request |= _config_source(config or _DEFAULT_RECIPE)
    session = TrainingSession(request, trainer, runs, as_json)
    try:
        status = _run(session, dry_run, go_on)
    except DeepMathError as error:
        if not as_json:
            raise
        notify(str(error), as_json)
        status = EXIT_USAGE if isinstance(error, InvalidRequest) else EXIT_FAILURE
    raise typer.Exit(status)


def _run(session: TrainingSession, dry_run: bool, go_on: bool) -> int:
    """Return the exit status."""
    try:
        with unblocked_streams():
            run = asyncio.run(session.run(dry_run, go_on))
            if run is None or run.status != pb.STATUS_STOPPED:
                wait_until_written()
    except asyncio.CancelledError:  # by SIGTERM
        return EXIT_TERMINATED
    return 0 if run is None else _exit_status(run)


def _exit_status(run: pb.Run) -> int:
    return EXIT_USAGE if run.misconfigured else _EXIT_STATUS.get(run.status, EXIT_FAILURE)


def _config_source(config: str) -> dict[str, str]:
    """Return the content of a local file, or the name of a recipe that the trainer has."""
    file = user_path(config)
    return {"config_yaml": read_text(file)} if os.path.lexists(file) else {"recipe": config}

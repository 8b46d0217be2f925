"""`deepmath serve`: one service in the foreground."""

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from deepmath.cli.lazy_group import command_app
from deepmath.local_stack.service_distributions import check_installed

app = command_app()

# The service parses its own options, --help included.
_FORWARDED = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


class ServiceName(StrEnum):
    """The services."""

    EXECUTOR = "executor"
    GENERATOR = "generator"
    TRAINER = "trainer"


@app.command(context_settings=_FORWARDED)
def serve(
    context: typer.Context,
    service: Annotated[ServiceName, typer.Argument(help="Service; `deepmath serve SERVICE --help` lists its options.")],
) -> None:
    """Run one service in the foreground."""
    check_installed(service.value)
    os.execv(sys.executable, [sys.executable, "-P", "-m", f"deepmath_{service.value}", *context.args])

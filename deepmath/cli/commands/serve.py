"""`deepmath serve`: one service as this process."""

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

# The service reads its own options, --help included.
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


class Service(StrEnum):
    """What can be served."""

    EXECUTOR = "executor"
    GENERATOR = "generator"
    TRAINER = "trainer"


def serve(
    context: typer.Context,
    service: Annotated[Service, typer.Argument(help="`deepmath serve executor --help` lists its options.")],
) -> None:
    """Serve the executor, the generator or the trainer in the foreground."""
    command = [sys.executable, "-P", "-m", f"deepmath_{service.value}", *context.args]
    os.execv(sys.executable, command)

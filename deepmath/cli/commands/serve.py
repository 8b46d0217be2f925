"""`deepmath serve`: one service in the foreground."""

import os
import sys
from typing import Annotated

import typer

from deepmath.cli.lazy_group import command_app
from deepmath.errors import InvalidRequest
from deepmath.local_stack.service_distributions import SERVICES, check_installed

app = command_app()

# The service parses its own options, --help included.
_FORWARDED = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(context_settings=_FORWARDED)
def serve(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help=f"{', '.join(SERVICES[:-1])} or {SERVICES[-1]}.")],
) -> None:
    """Run one service in the foreground.

    `deepmath serve SERVICE --help` lists the options of a service.
    """
    if service in ("--help", "-h"):
        print(context.get_help())
        return
    if service not in SERVICES:
        raise InvalidRequest(f"{service!r} is not a service; the services are {', '.join(SERVICES)}")
    check_installed(service)
    os.execv(sys.executable, [sys.executable, "-P", "-m", f"deepmath_{service}", *context.args])

"""`deepmath kernel`: a kernel for Jupyter whose cells run in the sandbox."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from deepmath.cli.lazy_group import command_app
from deepmath.cli.output_streams import write_data
from deepmath.cli.shared_options import PATH, SnippetExecutor
from deepmath.errors import InvalidRequest
from deepmath.integrations.jupyter.kernel_spec import DISPLAY_NAME, KERNEL_NAME, install_kernel_spec

app = command_app(help="Install a Jupyter kernel whose cells run in the sandbox.", no_args_is_help=True)


@app.callback()
def kernel() -> None:
    """Install a Jupyter kernel whose cells run in the sandbox."""


@app.command()
def install(
    user: Annotated[bool, typer.Option("--user", help="Install for the current user.")] = False,
    prefix: Annotated[
        Path | None, typer.Option(help="Install in the environment at this path. Default: this Python's.", **PATH)
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the kernel.")] = KERNEL_NAME,
    display_name: Annotated[str, typer.Option(help="Name that front ends show.")] = DISPLAY_NAME,
    executor: SnippetExecutor = None,
    tls: Annotated[
        Path | None, typer.Option(help="Folder with tls.crt, tls.key and ca.crt. Default: DEEPMATH_TLS.", **PATH)
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with a token. Default: DEEPMATH_TOKEN_FILE.", **PATH)
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of random and numpy.random. Default: 0.")] = None,
    wall_seconds: Annotated[
        float | None, typer.Option(min=0.001, help="Wall-clock limit per cell, in seconds.")
    ] = None,
    memory_mib: Annotated[int | None, typer.Option(min=1, help="Memory limit of a session, in MiB.")] = None,
) -> None:
    """Install the kernelspec, in place of an existing one of that name. Prints its folder."""
    if user and prefix:
        raise InvalidRequest("--user and --prefix are two places; give one")
    chosen = {
        "executor": executor,
        "tls": tls and tls.absolute(),
        "token-file": token_file and token_file.absolute(),
        "seed": seed,
        "wall-seconds": wall_seconds,
        "memory-mib": memory_mib,
    }
    options = [f"--{option}={value}" for option, value in chosen.items() if value is not None]
    installed = install_kernel_spec(options, name=name, display_name=display_name, user=user, prefix=prefix)
    write_data(f"{installed}\n", sys.stdout)

"""`deepmath certs`: a certificate authority (CA) for development, and certificates signed by it."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from deepmath.access.certificate_authority import create_ca, issue_certificate
from deepmath.cli.lazy_group import command_app
from deepmath.cli.output_streams import write_data
from deepmath.cli.shared_options import PATH

app = command_app(
    help="Create a development CA and certificates for mutual TLS. Key files are readable by their owner only.",
    no_args_is_help=True,
)

Force = Annotated[bool, typer.Option("--force", help="Replace existing files.")]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Output folder for ca.crt and ca.key.", **PATH)],
    days: Annotated[int, typer.Option(min=1, max=36500, help="Validity, in days.")] = 3650,
    force: Force = False,
) -> None:
    """Create a CA. Anyone with `ca.key` can impersonate any service or client."""
    create_ca(folder, days, force)
    write_data(f"{folder / 'ca.crt'}\n", sys.stdout)


@app.command()
def issue(
    folder: Annotated[Path, typer.Argument(help="Folder of the CA.", **PATH)],
    name: Annotated[str, typer.Argument(help="Common name, such as executor. Servers report calls under it.")],
    dns: Annotated[list[str] | None, typer.Option(help="DNS name of the service; repeatable.")] = None,
    ip: Annotated[list[str] | None, typer.Option(help="IP address of the service; repeatable.")] = None,
    days: Annotated[int, typer.Option(min=1, max=36500, help="Validity, in days.")] = 90,
    force: Force = False,
) -> None:
    """Issue a certificate for a service or a client. Prints its folder, for --tls or DEEPMATH_TLS.

    Without --dns and --ip the certificate is valid for localhost, 127.0.0.1 and ::1. Running services reload
    certificates that --force replaces.
    """
    if not dns and not ip:
        dns, ip = ["localhost"], ["127.0.0.1", "::1"]
    issued = issue_certificate(folder, name, dns or [], ip or [], days, force)
    write_data(f"{issued}\n", sys.stdout)

"""`deepmath certs`: a certificate authority for development, and certificates from it."""

from pathlib import Path
from typing import Annotated

import typer

certs = typer.Typer(
    help="Make an authority for development and certificates for mutual TLS. Keys are readable by their owner alone.",
    no_args_is_help=True,
)

Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


@certs.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to write ca.crt and ca.key.")],
    days: Annotated[int, typer.Option(min=1, max=36500, help="How long it is good for.")] = 3650,
    force: Force = False,
) -> None:
    """Make a certificate authority. Who has its ca.key can pass for every service and client."""
    _need_cryptography()
    from deepmath.access.certificate_authority import create_ca

    create_ca(folder, days, force)
    print(folder / "ca.crt")


@certs.command()
def issue(
    folder: Annotated[Path, typer.Argument(help="Folder of the authority.")],
    name: Annotated[str, typer.Argument(help="Who it is for, such as executor: what servers count its calls by.")],
    dns: Annotated[list[str] | None, typer.Option(help="A name that the service is called by; repeatable.")] = None,
    ip: Annotated[list[str] | None, typer.Option(help="An address that it is called by; repeatable.")] = None,
    days: Annotated[int, typer.Option(min=1, max=36500, help="How long it is good for.")] = 90,
    force: Force = False,
) -> None:
    """Issue a certificate for a service or a client, and print the folder for --tls or DEEPMATH_TLS.

    Without --dns and --ip it is good on this machine: for localhost, 127.0.0.1 and ::1. A service that runs takes up
    what --force replaces.
    """
    _need_cryptography()
    from deepmath.access.certificate_authority import issue_certificate

    if not dns and not ip:
        dns, ip = ["localhost"], ["127.0.0.1", "::1"]
    print(issue_certificate(folder, name, dns or [], ip or [], days, force))


def _need_cryptography() -> None:
    from importlib.util import find_spec

    from deepmath.errors import InvalidRequest

    if find_spec("cryptography") is None:
        raise InvalidRequest("certs needs cryptography: install the extra `certs`")

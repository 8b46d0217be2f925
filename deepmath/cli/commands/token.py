"""`deepmath token`: an access token for a client."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from deepmath.access.token_file_editor import generate_token, write_client
from deepmath.access.tokens import SCOPES, TokenClient, hash_token
from deepmath.cli.lazy_group import command_app
from deepmath.errors import InvalidRequest
from deepmath.printable_text import printable_line

app = command_app()


@app.command()
def token(
    name: Annotated[str, typer.Argument(help="Name of the client.")],
    scope: Annotated[
        list[str], typer.Option(help="Granted scope: execute, generate, update-adapter or train. Repeatable.")
    ],
    tokens: Annotated[Path, typer.Option(help="Clients file, as services take it by --tokens.")],
    max_calls: Annotated[int | None, typer.Option(min=1, help="Concurrent calls. Default: unlimited.")] = None,
    calls_per_second: Annotated[
        float | None, typer.Option(min=0.001, help="Sustained rate of new calls per second. Default: unlimited.")
    ] = None,
    burst: Annotated[int | None, typer.Option(min=1, help="With --calls-per-second: burst size, in calls.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the token of an existing client.")] = False,
) -> None:
    """Create an access token for a client. Prints it once, and writes its hash, scopes and limits to a file.

    Store the token in a file of the client's, named by DEEPMATH_TOKEN_FILE or by a service's --token-file. Running
    services reload the clients file.
    """
    if unknown := set(scope) - set(SCOPES):
        raise InvalidRequest(f"{min(unknown)!r} is not a valid scope; the scopes are {', '.join(SCOPES)}")
    limits: dict[str, Any] = {"max_calls": max_calls, "calls_per_second": calls_per_second, "burst": burst}
    given = {limit: value for limit, value in limits.items() if value is not None}
    created = generate_token()
    client = TokenClient(sha256=hash_token(created), scopes=frozenset(scope), **given)
    write_client(tokens, name, client, force)
    print(created)
    print(f"client {name} is in {printable_line(tokens)}; the token itself is stored nowhere", file=sys.stderr)

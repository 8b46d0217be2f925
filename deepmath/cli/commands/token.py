"""`deepmath token`: a token for a client."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def token(
    name: Annotated[str, typer.Argument(help="The client that it is for.")],
    scope: Annotated[
        list[str], typer.Option(help="What it may do: execute, generate, update-adapter or train; repeatable.")
    ],
    tokens: Annotated[Path, typer.Option(help="The file of clients that services are given as --tokens.")],
    max_calls: Annotated[int | None, typer.Option(min=1, help="Calls in flight at once. Default: no limit.")] = None,
    calls_per_second: Annotated[
        float | None, typer.Option(min=0.001, help="Calls started, on average. Default: no limit.")
    ] = None,
    burst: Annotated[int | None, typer.Option(min=1, help="Calls started at once, with --calls-per-second.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Give a client that is there a new token.")] = False,
) -> None:
    """Print a new token, this once, and write its hash with the client's scopes and limits to a file.

    Keep it in a file of the client's, which DEEPMATH_TOKEN_FILE or a service's --token-file names. Services take up the
    change of the file while they run.
    """
    from deepmath.access.token_file_editor import generate_token, write_client
    from deepmath.access.tokens import SCOPES, TokenClient, hash_token
    from deepmath.errors import InvalidRequest

    if unknown := set(scope) - set(SCOPES):
        raise InvalidRequest(f"{min(unknown)!r} is no scope: there are {', '.join(SCOPES)}")
    limits: dict[str, Any] = {"max_calls": max_calls, "calls_per_second": calls_per_second, "burst": burst}
    given = {limit: value for limit, value in limits.items() if value is not None}
    made = generate_token()
    client = TokenClient(sha256=hash_token(made), scopes=frozenset(scope), **given)
    write_client(tokens, name, client, force)
    print(made)
    print(f"{name} is in {tokens}; the token itself is kept nowhere", file=sys.stderr)

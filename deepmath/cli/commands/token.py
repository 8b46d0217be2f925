"""`deepmath token`: an access token for a client."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from deepmath.access.owner_file import close_to_others, staged_file
from deepmath.access.token_file_editor import generate_token, write_client
from deepmath.access.tokens import SCOPES, TokenClient, hash_token
from deepmath.cli.lazy_group import command_app
from deepmath.cli.shared_options import PATH
from deepmath.errors import InvalidRequest
from deepmath.printable_text import printable_line

app = command_app()


@app.command()
def token(
    name: Annotated[str, typer.Argument(help="Name of the client.")],
    scope: Annotated[
        list[str], typer.Option(help="Granted scope: execute, generate, update-adapter or train. Repeatable.")
    ],
    tokens: Annotated[Path, typer.Option(help="Clients file, as services take it by --tokens.", **PATH)],
    max_calls: Annotated[int | None, typer.Option(min=1, help="Concurrent calls. Default: unlimited.")] = None,
    calls_per_second: Annotated[
        float | None, typer.Option(min=0.001, help="Sustained rate of new calls per second. Default: unlimited.")
    ] = None,
    burst: Annotated[int | None, typer.Option(min=1, help="With --calls-per-second: burst size, in calls.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="File for the token, readable by its owner only. Default: print it.", **PATH)
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the token of an existing client, and the file of --out.")
    ] = False,
) -> None:
    """Create an access token for a client.

    Its hash, scopes and limits go to the clients file. The token is written to --out, or printed once. Name its file by
    DEEPMATH_TOKEN_FILE or by a service's --token-file. Running services reload the clients file.
    """
    if unknown := set(scope) - set(SCOPES):
        raise InvalidRequest(f"{min(unknown)!r} is not a valid scope; the scopes are {', '.join(SCOPES)}")
    limits: dict[str, Any] = {"max_calls": max_calls, "calls_per_second": calls_per_second, "burst": burst}
    given = {limit: value for limit, value in limits.items() if value is not None}
    created = generate_token()
    client = TokenClient(sha256=hash_token(created), scopes=frozenset(scope), **given)
    stored = f"client {name} is in {printable_line(tokens)}"
    if out:
        _write_to_file(out, created, force, lambda: write_client(tokens, name, client, force))
        print(f"{stored}; the token is in {printable_line(out)}", file=sys.stderr)
        return
    _close_stdout_to_others()
    write_client(tokens, name, client, force)
    print(created)
    print(f"{stored}; the token itself is stored nowhere", file=sys.stderr)


def _write_to_file(out: Path, created: str, force: bool, register: Callable[[], None]) -> None:
    """Write the token to `out` if `register`, which makes it valid, succeeds."""
    if out.exists() and not force:
        raise InvalidRequest(f"{out} exists: --force replaces it")
    try:
        with staged_file(out, f"{created}\n".encode()):
            register()
    except OSError as error:
        raise InvalidRequest(f"cannot write {out}: {error.strerror}") from None


def _close_stdout_to_others() -> None:
    """Make a file that the shell has created for the token readable by its owner only."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # not a file
        return
    try:
        if close_to_others(descriptor):
            print("the output file is now readable by its owner only; --out FILE creates it so", file=sys.stderr)
    except OSError as error:
        raise InvalidRequest(
            f"others can read the output file, and its mode cannot be changed ({error.strerror}); give --out FILE"
        ) from None

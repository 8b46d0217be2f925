"""Clients known by the hash of their bearer token, and the token that a client presents.

A tokens file is TOML:

    [clients.trainer]
    sha256 = "..."                             # of the token, in hexadecimal; the token itself is not stored
    scopes = ["generate", "update-adapter"]
    max_calls = 64                             # concurrent calls; optional, as are calls_per_second and burst
"""

import hashlib
import hmac
import tomllib
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from deepmath.access.file_watcher import FileWatcher
from deepmath.errors import InvalidRequest
from deepmath.user_files import read_text

_MAX_TOKEN_BYTES = 1 << 20

Scope = Literal["execute", "generate", "update-adapter", "train"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


class TokenClient(BaseModel):
    """The scopes and limits of a client. A limit of 0 means no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
    scopes: frozenset[Scope] = Field(min_length=1)
    max_calls: int = Field(0, ge=0)
    calls_per_second: float = Field(0.0, ge=0, allow_inf_nan=False)
    burst: int = Field(10, ge=1)


Clients = dict[str, TokenClient]


class _TokensFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    clients: Clients = {}


def hash_token(token: str) -> str:
    """Return the SHA-256 of a token. Tokens are long and random, so an unsalted hash cannot be reversed."""
    return hashlib.sha256(token.encode()).hexdigest()


def read_clients(path: Path) -> Clients:
    """Return the clients in a tokens file, by name.

    Raises:
        InvalidRequest: The file is unreadable or invalid.
    """
    try:
        text = read_text(path)
    except InvalidRequest as error:
        raise InvalidRequest(f"the tokens file: {error}; `deepmath token` creates one") from None
    return parse_clients(text, path)


def parse_clients(text: str, path: Path) -> Clients:
    """Return the clients in `text`, the content of `path`.

    Raises:
        InvalidRequest: The content is invalid.
    """
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: an integer may be too long
        raise InvalidRequest(f"{path} is not valid TOML: {error}") from None
    try:
        clients = _TokensFile(**values).clients
    except ValidationError as error:  # the first mistake only, and without its value, which may be a pasted token
        mistake = error.errors()[0]
        raise InvalidRequest(f"{path}: {'.'.join(map(str, mistake['loc']))}: {mistake['msg']}") from None
    if len({client.sha256 for client in clients.values()}) < len(clients):
        raise InvalidRequest(f"{path}: two clients have the same sha256; give each its own token")
    return clients


def watch_clients(path: Path) -> FileWatcher[Clients]:
    """Return a watcher of the clients in a tokens file.

    Raises:
        InvalidRequest: The file is unusable.
    """
    return FileWatcher([path], lambda: read_clients(path))


def find_client(token: str, clients: Clients) -> str | None:
    """Return the name of the client with `token`, in a time that does not depend on how much of it matches."""
    digest = hash_token(token)
    found = None
    for name, client in clients.items():
        if hmac.compare_digest(client.sha256, digest):
            found = name
    return found


def read_token(path: Path) -> str:
    """Return the token in `path`, a file with nothing else in it.

    Raises:
        InvalidRequest: The file is unreadable or has no token.
    """
    token = read_text(path, _MAX_TOKEN_BYTES).strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidRequest(f"{path} is not a token file: it must hold only the token that `deepmath token` printed")
    return token


def watch_token(path: Path) -> FileWatcher[str]:
    """Return a watcher of the token in `path`.

    Raises:
        InvalidRequest: The file is unusable.
    """
    return FileWatcher([path], lambda: read_token(path))

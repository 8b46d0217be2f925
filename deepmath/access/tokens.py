"""Who may call what: the clients that a service knows by the hash of their token.

A file of them is TOML:

    [clients.trainer]
    sha256 = "..."                             # of the token, in hexadecimal; the token itself is kept nowhere
    scopes = ["generate", "update-adapter"]
    max_calls = 64                             # in flight at once; calls_per_second and burst: started. Optional.
"""

import hashlib
import hmac
import tomllib
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from deepmath.access.file_watcher import FileWatcher
from deepmath.errors import InvalidRequest

Scope = Literal["execute", "generate", "update-adapter", "train"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


class TokenClient(BaseModel):
    """A client and what it may do. Limits that are 0 are none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
    scopes: frozenset[Scope] = Field(min_length=1)
    max_calls: int = Field(0, ge=0)
    calls_per_second: float = Field(0.0, ge=0, allow_inf_nan=False)
    burst: int = Field(10, ge=1)


Clients = dict[str, TokenClient]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    clients: Clients = {}


def hash_of(token: str) -> str:
    """Return what a file keeps of a token. It is random and long, so that a plain hash cannot be turned back."""
    return hashlib.sha256(token.encode()).hexdigest()


def read_clients(path: Path) -> Clients:
    """Return the clients in the file `path`, by name.

    Raises:
        InvalidRequest: it cannot be read, or says something else than clients; the message says what.
    """
    try:
        return parse_clients(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidRequest(f"cannot read the tokens {path}: {reason}; `deepmath token` makes such a file") from None


def parse_clients(text: str, path: Path) -> Clients:
    """Return the clients in `text`, which is to be told of as `path`.

    Raises:
        InvalidRequest: it says something else than clients.
    """
    try:
        clients = _File(**tomllib.loads(text)).clients
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest(f"{path} is no TOML: {error}") from None
    except ValidationError as error:  # of the first mistake only, and without the value: it may be a token by mistake
        mistake = error.errors()[0]
        raise InvalidRequest(f"{path}: {'.'.join(map(str, mistake['loc']))}: {mistake['msg']}") from None
    if len({client.sha256 for client in clients.values()}) < len(clients):
        raise InvalidRequest(f"{path}: two clients have the same sha256; give each a token of its own")
    return clients


def watch_clients(path: Path) -> FileWatcher[Clients]:
    """Return the clients in the file `path`, as it changes.

    Raises:
        InvalidRequest: it cannot be used.
    """
    return FileWatcher([path], lambda: read_clients(path))


def client_of(token: str, clients: Clients) -> str | None:
    """Return the name of the client with `token`. How long it takes does not tell how much of a guess was right."""
    digest = hash_of(token)
    found = None
    for name, client in clients.items():
        if hmac.compare_digest(client.sha256, digest):
            found = name
    return found


def read_token(path: Path) -> str:
    """Return the token in the file `path`, where it stands alone.

    Raises:
        InvalidRequest: there is none.
    """
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise InvalidRequest(f"cannot read the token in {path}: {reason}") from None
    if not token or not token.isprintable() or " " in token:
        raise InvalidRequest(f"{path} has no token: write there, alone, what `deepmath token` printed")
    return token


def watch_token(path: Path) -> FileWatcher[str]:
    """Return the token in the file `path`, as it changes.

    Raises:
        InvalidRequest: there is none.
    """
    return FileWatcher([path], lambda: read_token(path))

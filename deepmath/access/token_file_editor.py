"""Adds clients to a tokens file, keeping the comments and the layout that people gave it."""

import re
import secrets
from pathlib import Path

import tomlkit
from tomlkit.items import Item, Key, Table

from deepmath.access.owner_file import OWNER_ONLY, replace_file
from deepmath.access.tokens import TokenClient, parse_clients
from deepmath.errors import InvalidRequest

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RANDOM_BYTES = 32
_PREFIX = "deepmath_"  # lets scanners and people recognise a leaked token, for example in a commit
_LIMITS = ("max_calls", "calls_per_second", "burst")


def generate_token() -> str:
    """Return a new token of 256 random bits."""
    return _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def write_client(path: Path, name: str, client: TokenClient, force: bool = False) -> None:
    """Write `client` as `name` to the tokens file `path`, leaving the other clients as they are.

    Raises:
        InvalidRequest: The name is invalid or taken (without `force`), or the file cannot be read, edited or written.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest(f"{name!r} is not a valid client name: use at most 64 letters, digits, - and _")
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        clients = parse_clients(text, path)
        if name in clients and not force:
            raise InvalidRequest(f"{path} has a client {name}: --force gives it a new token, scopes and limits")
        edited = _with_client(text, name, client)
        # Inline tables and dotted keys cannot take a new table.
        if not _is_toml_with(edited, path, clients | {name: client}):
            raise InvalidRequest(f"{path} is not laid out as [clients.NAME] tables: edit it by hand")
        _replace(path, edited)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidRequest(f"cannot change {path}: {reason}") from None


def _with_client(text: str, name: str, client: TokenClient) -> str:
    document = tomlkit.parse(text)
    clients = document.setdefault("clients", tomlkit.table(is_super_table=True))
    if name not in clients:
        clients[name] = tomlkit.table()
    table: Table = clients[name]
    table["sha256"], table["scopes"] = client.sha256, sorted(client.scopes)
    trailing = _take_trailing_comments(table)  # they belong to the next client
    for limit in _LIMITS:
        if limit in client.model_fields_set:
            table[limit] = getattr(client, limit)
        else:
            table.pop(limit, None)
    table.value.body.extend(trailing)
    return tomlkit.dumps(document).lstrip()


def _take_trailing_comments(table: Table) -> list[tuple[Key | None, Item]]:
    """Remove the blank lines and comments at the end of a table, and return them."""
    body = table.value.body
    end = next((index for index in range(len(body), 0, -1) if body[index - 1][0] is not None), 0)
    trailing = body[end:]
    del body[end:]
    return trailing


def _is_toml_with(text: str, path: Path, clients: dict[str, TokenClient]) -> bool:
    try:
        return parse_clients(text, path) == clients
    except InvalidRequest:
        return False


def _replace(path: Path, text: str) -> None:
    """Write the file, keeping the permissions of an existing one."""
    replace_file(path, text.encode(), path.stat().st_mode & 0o777 if path.exists() else OWNER_ONLY)

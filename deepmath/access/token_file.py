"""A file of tokens, changed so that what people wrote into it stays as it is."""

import os
import re
import secrets
from pathlib import Path

from deepmath.access.tokens import TokenClient, parse_clients
from deepmath.errors import InvalidRequest

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RANDOM_BYTES = 32
_PREFIX = "deepmath_"  # so that a token is seen for one where it should not be, as in a commit
_OWNER_ONLY = 0o600
_LIMITS = ("max_calls", "calls_per_second", "burst")


def new_token() -> str:
    """Return a token that nobody can guess."""
    return _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def check_client_name(name: str) -> None:
    """Insist that a client can have this name.

    Raises:
        InvalidRequest: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest(f"{name!r} is no name of a client: take at most 64 letters, digits, - and _")


def write_client(path: Path, name: str, client: TokenClient, force: bool = False) -> None:
    """Write `client` to the file `path` as `name`, the others left as they are.

    Raises:
        InvalidRequest: there is one of that name and `force` is not given, or the file cannot be read or written.
    """
    check_client_name(name)
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if name in parse_clients(text, path):
            if not force:
                raise InvalidRequest(f"{path} has a client {name}: --force gives it a new token, scopes and limits")
            text = _without(text, name)
        text = f"{text.rstrip()}\n\n{_section(name, client)}".lstrip()
        if name not in parse_clients(text, path):
            raise InvalidRequest(f"{path} is not written as this command would: change it by hand")
        _replace(path, text)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidRequest(f"cannot change {path}: {reason}") from None


def _section(name: str, client: TokenClient) -> str:
    scopes = ", ".join(f'"{scope}"' for scope in sorted(client.scopes))
    set_here = [limit for limit in _LIMITS if limit in client.model_fields_set]
    lines = [f"[clients.{name}]", f'sha256 = "{client.sha256}"', f"scopes = [{scopes}]"]
    return "\n".join([*lines, *(f"{limit} = {getattr(client, limit)}" for limit in set_here)]) + "\n"


def _without(text: str, name: str) -> str:
    """Return `text` without the section of the client `name`, up to the next section."""
    return re.sub(rf"(?ms)^\[clients\.{re.escape(name)}\]\n.*?(?=^\[|\Z)", "", text)


def _replace(path: Path, text: str) -> None:
    """Write the file whole or not at all; one that is there keeps its permissions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else _OWNER_ONLY
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)

"""The record of a detached stack in its state folder: what runs, where, since when, and with which settings."""

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from deepmath.errors import InvalidRequest
from deepmath.local_stack.code_fingerprint import code_fingerprint, files_fingerprint
from deepmath.process_identity import ProcessIdentity

_PATH_OPTIONS = ("--adapter", "--prompt")


@dataclass(frozen=True)
class StackSettings:
    """The model that a generator serves, and its further options, as `generator_options` returns them."""

    model: str = ""
    """Empty: an executor alone."""
    options: tuple[str, ...] = ()
    files: str = ""
    """Fingerprint of the files of model and adapter: a folder may get other weights."""

    @classmethod
    def of(cls, model: str, options: list[str]) -> Self:
        """Return settings that are valid in any working directory."""
        named = [_absolute(one) if before in _PATH_OPTIONS else one for before, one in pairwise(["", *options])]
        model = _absolute(model)
        return cls(model, tuple(named), files_fingerprint(model, *named))

    @property
    def title(self) -> str:
        """The model and its options, for people."""
        return " ".join((self.model, *self.options)) if self.model else "an executor alone"


@dataclass(frozen=True)
class StackRecord:
    """A detached stack that starts or runs."""

    keeper: ProcessIdentity
    settings: StackSettings
    idle_s: float
    """Time without calls after which it stops; 0: never."""
    started: float
    """Unix time."""
    code: str
    executor: str = ""
    """Address; empty while the stack starts."""
    generator: str = ""
    """Address; empty for an executor alone."""
    gateway: str = ""
    """HOST:PORT; empty if it is not installed. Its API key is that of `GatewayKey`."""
    services: tuple[ProcessIdentity, ...] = ()

    @property
    def is_ready(self) -> bool:
        """Whether its services serve."""
        return bool(self.executor)

    @property
    def has_this_code(self) -> bool:
        """Whether it runs the code of this process."""
        return self.code == code_fingerprint()

    def dumps(self) -> bytes:
        """Return the record as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def loads(cls, content: bytes) -> Self:
        """Return the record from its JSON.

        Raises:
            InvalidRequest: It is not a record of this version.
        """
        try:
            fields: dict[str, Any] = json.loads(content)
            settings = fields["settings"]
            settings["options"] = tuple(settings["options"])
            record = cls(
                **fields
                | {
                    "keeper": _identity(fields["keeper"]),
                    "services": tuple(map(_identity, fields["services"])),
                    "settings": StackSettings(**settings),
                }
            )
        except (ValueError, TypeError, KeyError, RecursionError):
            raise InvalidRequest(
                "the record of the detached stack is damaged, or of another version; if its process "
                "deepmath.local_stack.stack_keeper still runs, end it with `kill`"
            ) from None
        return record


def _identity(fields: list[Any]) -> ProcessIdentity:
    """Return the process in a record.

    Raises:
        ValueError, TypeError: It is not one.
    """
    boot, *numbers = fields
    identity = ProcessIdentity(boot, *numbers)
    if not isinstance(boot, str) or not all(type(one) is int and one >= 0 for one in numbers) or not identity.pid:
        raise ValueError("not a process")
    return identity


def _absolute(name: str) -> str:
    """Return the absolute path of a file or folder; any other name, such as that of a hub's model, unchanged."""
    return str(Path(name).resolve()) if Path(name).exists() else name

"""The state of a run, as `state.json` holds it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

_ENDED = frozenset({"done", "stopped", "failed"})


@dataclass(frozen=True)
class RunState:
    """The progress of a run.

    `status`: starting, waiting, running, done, stopped or failed. `waiting_for`: a generator, and why it is not ready.
    `misconfigured`: whether `error` is a mistake in the configuration. `updated`: Unix time in seconds.
    """

    status: str = "starting"
    step: int = 0
    steps: int = 0
    policy_version: int = 0
    error: str = ""
    waiting_for: str = ""
    misconfigured: bool = False
    updated: float = 0.0
    pid: int = 0

    @property
    def ended(self) -> bool:
        """Whether no worker trains the run any more."""
        return self.status in _ENDED

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return the state with `values`; those of a later version that this one does not know are ignored."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

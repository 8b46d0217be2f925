"""A problem of reasoning-gym, with what its own scorer needs."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class GymTask:
    """A generator of reasoning-gym with its options. Generator and scorer are one class there."""

    name: str
    """As in reasoning-gym's registry: `chain_sum`."""
    options: str = "{}"
    """Fields of its configuration, as a JSON object with sorted keys."""


@dataclass(frozen=True, slots=True)
class GymEntry:
    """One entry that a task generated."""

    task: GymTask
    pickled: bytes = field(repr=False)
    """The entry as Python's pickle, from our own process. Only a sandbox reads it, because reading one runs code."""

"""What sandboxes come from."""

from typing import Protocol

from deepmath.sandbox.isolation.layers import IsolationLayer
from deepmath.sandbox.supervisor.sandbox_process import Sandbox


class Backend(Protocol):
    """Makes sandboxes. `layers` and `versions` are known after the first."""

    name: str
    layers: list[IsolationLayer]
    versions: dict[str, str]
    replacements: int
    """How many times what sandboxes are forked from was replaced since the start."""
    at_once: int
    """How many `open` are worth having under way."""

    async def start(self) -> None:
        """Get ready.

        Raises:
            Unavailable: it cannot be had here; the message says why.
        """

    async def open(self) -> Sandbox:
        """Make a sandbox.

        Raises:
            Unavailable: none can be had at the moment.
        """

    async def close(self) -> None:
        """End whatever was started."""

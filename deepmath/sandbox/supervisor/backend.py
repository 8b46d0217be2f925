"""Interface of a backend, the source of sandboxes."""

from typing import Protocol

from deepmath.sandbox.isolation.layers import IsolationLayer
from deepmath.sandbox.supervisor.memory_budget import MemoryBudget
from deepmath.sandbox.supervisor.sandbox_process import Sandbox


class Backend(Protocol):
    """Opens sandboxes. `layers` and `versions` are known once the first is open."""

    name: str
    layers: list[IsolationLayer]
    versions: dict[str, str]
    """Versions of Python and of the preloaded packages, by name."""
    replacements: int
    """Number of times that the process which forks sandboxes was replaced."""
    memory: MemoryBudget
    """Budget of the memory of all its sandboxes."""
    at_once: int
    """Useful number of concurrent calls of `open`."""

    async def start(self) -> None:
        """Prepare to open sandboxes.

        Raises:
            Unavailable: The backend does not work here; the message says why.
        """

    async def open(self) -> Sandbox:
        """Open a sandbox.

        Raises:
            Unavailable: No sandbox could be started.
        """

    async def close(self) -> None:
        """Stop everything that was started."""

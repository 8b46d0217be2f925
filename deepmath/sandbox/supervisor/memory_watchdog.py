"""Where sandboxes together hold too much memory and no kernel sees to it, the largest is killed."""

import logging
from collections.abc import Mapping

from deepmath.sandbox.supervisor.sandbox_process import Sandbox

log = logging.getLogger(__name__)


def relieve(held: Mapping[Sandbox, int], most_bytes: int) -> None:
    """Kill the sandbox that holds the most if all of `held`, in bytes, is over `most_bytes`."""
    if sum(held.values()) > most_bytes:
        log.error("all sandboxes together hold over %d MiB; the largest is killed", most_bytes >> 20)
        max(held, key=lambda sandbox: held[sandbox]).evict()

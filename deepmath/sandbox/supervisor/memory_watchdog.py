"""Limit on the total memory of all sandboxes, for machines without a control group: the largest sandbox is killed."""

import logging
from collections.abc import Mapping

from deepmath.sandbox.supervisor.sandbox_process import Sandbox

log = logging.getLogger(__name__)


def evict_largest(memory: Mapping[Sandbox, int], limit: int) -> None:
    """Kill the sandbox with the most memory if the sum of `memory`, in bytes, is over `limit`."""
    if sum(memory.values()) > limit:
        log.error("sandboxes together use over %d MiB; killing the largest", limit >> 20)
        max(memory, key=lambda sandbox: memory[sandbox]).evict()

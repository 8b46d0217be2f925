"""Settings that the memory of this machine or container can keep."""

import logging

from deepmath.errors import Unavailable
from deepmath.sandbox.supervisor.memory_budget import MemoryBudget
from deepmath_executor.config import ExecutorConfig

log = logging.getLogger(__name__)


def fitted_to_memory(config: ExecutorConfig, memory: MemoryBudget) -> ExecutorConfig:
    """Return `config` with no more running snippets, and no higher memory limit, than fit into the memory.

    Raises:
        Unavailable: Not even one snippet of the default limit fits.
    """
    slots = memory.fitting_slots()
    if slots < config.max_running_snippets:
        log.warning(
            "max_running_snippets lowered from %d to %d: %d MiB of memory hold no more snippets of %d MiB; raise the "
            "container's memory limit or lower memory_bytes",
            *(config.max_running_snippets, slots, memory.usable_bytes >> 20, config.memory_bytes >> 20),
        )
    memory.slots = slots
    largest = memory.largest_snippet_bytes()
    if largest < config.memory_bytes:
        raise Unavailable(
            f"a snippet may use {config.memory_bytes >> 20} MiB, but {memory.usable_bytes >> 20} MiB of memory leave "
            f"{max(0, largest) >> 20} MiB for it; raise the container's memory limit or lower memory_bytes"
        )
    if largest < config.maximum_memory_bytes:
        log.info("maximum_memory_bytes lowered to %d: more does not fit into the memory", largest)
    most = min(largest, config.maximum_memory_bytes)
    return config.model_copy(update={"max_running_snippets": slots, "maximum_memory_bytes": most})

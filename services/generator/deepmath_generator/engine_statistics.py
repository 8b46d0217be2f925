"""Statistics of the inference engine's batch and KV cache."""

from dataclasses import dataclass


@dataclass
class EngineStatistics:
    """State of the engine after its last step, and totals since its start."""

    running: int = 0
    """Requests in the batch."""
    waiting: int = 0
    """Requests waiting for a place in the batch or for blocks of the cache."""
    cache_usage: float = 0.0
    """Share of the KV cache's blocks in use by requests, 0 to 1."""
    preemptions: int = 0
    """Requests that lost their blocks to others and were computed again."""
    queried_tokens: int = 0
    """Prompt tokens looked up in the prefix cache."""
    hit_tokens: int = 0
    """Prompt tokens found there."""

"""Number of executors for a fleet of generators, by the formula in docs/scaling.md."""

import math
from dataclasses import dataclass

BUSY = 0.6  # target utilization of the cores
PLACES_PER_TRAJECTORY = 1.25  # of every overlay; an autoscaler's target occupancy is 1 / 1.25


@dataclass(frozen=True)
class Fleet:
    """Generators, executors and their load. Times are in seconds."""

    generators: int
    in_flight: int
    """Trajectories per generator."""
    executors: int
    cores: int
    """Cores per executor."""
    max_sessions: int
    """Sessions per executor at most."""
    idle_bytes: int
    """Memory per executor for sessions between snippets."""
    session_bytes: int
    """Memory of a session between snippets."""
    segment_tokens: float
    """Mean length of a segment."""
    snippets: float
    """Mean number per trajectory."""
    snippet_s: float
    """Mean processor time of a snippet."""
    open_s: float
    """Processor time to open a session."""
    step_s: float
    """Duration of an engine step with few trajectories."""
    step_s_each: float
    """Additional duration per trajectory."""
    executor_life_s: float = 3600.0
    executor_away_s: float = 10.0
    generator_life_s: float = 3600.0
    generator_away_s: float = 120.0
    placing: str = "turn"
    """Placement of sessions: `turn`, gRPC's round-robin, or `load`, the less loaded of two random executors."""

    def step(self, sampling: int) -> float:
        """Return the duration of an engine step with a batch of `sampling` trajectories."""
        return self.step_s + self.step_s_each * sampling

    @property
    def places(self) -> int:
        """Sessions that an executor can have."""
        return min(self.max_sessions, self.idle_bytes // self.session_bytes)

    @property
    def needed(self) -> int:
        """Number of executors by the formula in docs/scaling.md."""
        return max(self.needed_for.values())

    @property
    def needed_for(self) -> dict[str, int]:
        """Numbers of executors that have enough cores, session places and memory."""
        sessions = PLACES_PER_TRAJECTORY * self.generators * self.in_flight
        return {
            "cores": self._needed_for_cores,
            "sessions": math.ceil(sessions / self.max_sessions),
            "memory": math.ceil(sessions * self.session_bytes / self.idle_bytes),
        }

    @property
    def _needed_for_cores(self) -> int:
        segments_per_s = self.generators * self.in_flight / self.step(self.in_flight) / self.segment_tokens
        trajectories_per_s = segments_per_s / (self.snippets + 1)  # the last segment is the answer
        core_s = self.snippets * self.snippet_s + self.open_s
        return math.ceil(trajectories_per_s * core_s / (BUSY * self.cores))

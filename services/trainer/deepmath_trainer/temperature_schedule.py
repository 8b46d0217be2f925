"""The temperature of an optimizer step, used for sampling and in the loss."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TemperatureSchedule:
    """Linear from `start` at step 0 to `end` at step `steps`, then constant."""

    start: float
    end: float
    steps: int

    def at(self, step: int) -> float:
        """Return the temperature of optimizer step `step`, counted from 0."""
        if step >= self.steps:
            return self.end  # exactly: the interpolation may differ in the last bit
        return self.start + (self.end - self.start) * max(step, 0) / self.steps

"""How long things took lately."""

_WEIGHT = 0.1  # of the newest in the mean: the last ten or so count


class ThroughputEstimate:
    """An exponentially weighted mean of durations in seconds."""

    def __init__(self, first_guess: float) -> None:
        self.mean = first_guess

    def add(self, seconds: float) -> None:
        """Take one more into account."""
        self.mean += _WEIGHT * (seconds - self.mean)

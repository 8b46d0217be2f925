"""Running estimates of how long snippets and sessions take."""

_WEIGHT = 0.1  # of the newest duration: about the last ten count


class ThroughputEstimate:
    """Exponentially weighted mean of durations, in seconds."""

    def __init__(self, initial: float) -> None:
        self.mean = initial

    def add(self, seconds: float) -> None:
        """Include one more duration."""
        self.mean += _WEIGHT * (seconds - self.mean)

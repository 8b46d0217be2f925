"""How tokens are drawn."""

from dataclasses import dataclass, fields, replace

from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath_generator.config import GeneratorConfig

_SEEDS = 1 << 63  # seeds are non-negative signed 64-bit numbers


@dataclass(frozen=True)
class SamplingOptions:
    """Parameters of the draw, as in the contract."""

    temperature: float
    top_p: float
    top_k: int
    seed: int | None = None

    @classmethod
    def default(cls, config: GeneratorConfig) -> "SamplingOptions":
        """Return the sampling of a request that says nothing."""
        return cls(config.temperature, config.top_p, config.top_k)

    def merged(self, message: pb.Sampling) -> "SamplingOptions":
        """Return this sampling with what `message` sets.

        Raises:
            InvalidRequest: a value is out of its range.
        """
        merged = SamplingOptions(
            **{f.name: getattr(message if message.HasField(f.name) else self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        )
        for name, valid, range_ in (
            ("temperature", 0 <= merged.temperature <= 2, "from 0 to 2"),
            ("top_p", 0 < merged.top_p <= 1, "over 0 and at most 1"),
            ("top_k", merged.top_k >= 0, "0 (off) or more"),
            ("seed", merged.seed is None or merged.seed >= 0, "0 or more"),
        ):
            if not valid:
                raise InvalidRequest(f"sampling.{name} is {getattr(merged, name):g}; it must be {range_}")
        return merged

    def seeded(self, offset: int) -> "SamplingOptions":
        """Return the sampling of the sample, or prompt, at index `offset`."""
        return self if self.seed is None else replace(self, seed=(self.seed + offset) % _SEEDS)

    def step_seed(self, step: int) -> int | None:
        """Return the seed of one step's draws: another for each step, or its draws would repeat the step before."""
        return None if self.seed is None else (self.seed * 1_000_003 + step) % _SEEDS

    def message(self) -> pb.Sampling:
        """Return the sampling as the contract has it."""
        return pb.Sampling(temperature=self.temperature, top_p=self.top_p, top_k=self.top_k, seed=self.seed)

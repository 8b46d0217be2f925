"""Sampling parameters of a request."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath_generator.config import GeneratorConfig

_FALLBACK: Mapping[str, Any] = {"temperature": 0.6, "top_p": 0.95, "top_k": 20}  # as Qwen3 recommends for thinking
_SEED_LIMIT = 1 << 63  # seeds are non-negative signed 64-bit integers


@dataclass(frozen=True)
class SamplingOptions:
    """Sampling parameters, with the meaning of `deepmath.generator.v1.Sampling`."""

    temperature: float
    top_p: float
    top_k: int
    seed: int | None = None

    @classmethod
    def default(cls, config: GeneratorConfig, recommended: Mapping[str, Any]) -> "SamplingOptions":
        """Return the defaults of the service: as configured, or else as `recommended` by the model."""
        configured = {name: value for name in _FALLBACK if (value := getattr(config, name)) is not None}
        return cls(**{**_FALLBACK, **recommended, **configured})

    def override(self, message: pb.Sampling) -> "SamplingOptions":
        """Return these options with the fields that `message` sets.

        Raises:
            InvalidRequest: A value is out of range.
        """
        options = SamplingOptions(
            **{f.name: getattr(message if message.HasField(f.name) else self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        )
        for name, valid, range_ in (
            ("temperature", 0 <= options.temperature <= 2, "from 0 to 2"),
            ("top_p", 0 < options.top_p <= 1, "above 0 and at most 1"),
            ("top_k", options.top_k >= 0, "0 (disabled) or more"),
            ("seed", options.seed is None or options.seed >= 0, "0 or more"),
        ):
            if not valid:
                raise InvalidRequest(f"sampling.{name} is {getattr(options, name):g}; it must be {range_}")
        return options

    def for_sample(self, index: int) -> "SamplingOptions":
        """Return the options of the sample or prompt at `index` of a request: with a seed of its own."""
        return self if self.seed is None else replace(self, seed=(self.seed + index) % _SEED_LIMIT)

    def step_seed(self, step: int) -> int | None:
        """Return the seed of a step. Steps have different seeds, or each would repeat the random draws of the last."""
        return None if self.seed is None else (self.seed * 1_000_003 + step) % _SEED_LIMIT

    def to_proto(self) -> pb.Sampling:
        """Return the options as a message."""
        return pb.Sampling(temperature=self.temperature, top_p=self.top_p, top_k=self.top_k, seed=self.seed)

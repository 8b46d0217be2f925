"""Budget of one trajectory: steps, tokens, executor time and wall-clock time."""

from dataclasses import dataclass, fields

from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath_generator.config import GeneratorConfig


@dataclass(frozen=True)
class TrajectoryBudget:
    """Limits of a trajectory, all positive, with the meaning of `deepmath.generator.v1.Budget`."""

    max_steps: int
    max_step_tokens: int
    max_tokens: int
    snippet_ms: int
    executor_ms: int
    wall_ms: int

    @classmethod
    def default(cls, config: GeneratorConfig) -> "TrajectoryBudget":
        """Return the defaults of the service."""
        return cls(**{field.name: getattr(config, field.name) for field in fields(cls)})

    def override(self, message: pb.Budget) -> "TrajectoryBudget":
        """Return this budget with the fields that `message` sets.

        Raises:
            InvalidRequest: A value is not positive.
        """
        values = {f.name: getattr(message if message.HasField(f.name) else self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        for name, value in values.items():
            if value <= 0:
                raise InvalidRequest(f"budget.{name} is {value}; it must be at least 1. Omit it for the default.")
        return TrajectoryBudget(**values)

    def to_proto(self) -> pb.Budget:
        """Return the budget as a message."""
        return pb.Budget(**{field.name: getattr(self, field.name) for field in fields(self)})

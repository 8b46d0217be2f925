"""What one trajectory may use: one budget over model tokens, tool tokens, executor time and wall clock."""

from dataclasses import dataclass, fields

from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath_generator.config import GeneratorConfig


@dataclass(frozen=True)
class TrajectoryBudget:
    """All whole numbers above 0; the units are those of the message."""

    max_steps: int
    max_step_tokens: int
    max_tokens: int
    snippet_ms: int
    executor_ms: int
    wall_ms: int

    @classmethod
    def default(cls, config: GeneratorConfig) -> "TrajectoryBudget":
        """Return the budget of a request that says nothing."""
        return cls(**{field.name: getattr(config, field.name) for field in fields(cls)})

    def merged(self, message: pb.Budget) -> "TrajectoryBudget":
        """Return this budget with what `message` sets.

        Raises:
            InvalidRequest: a value is zero or negative.
        """
        values = {f.name: getattr(message if message.HasField(f.name) else self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        for name, value in values.items():
            if value <= 0:
                raise InvalidRequest(f"budget.{name} is {value}; it must be at least 1. Leave it out for the default.")
        return TrajectoryBudget(**values)

    def message(self) -> pb.Budget:
        """Return the budget as the contract has it."""
        return pb.Budget(**{field.name: getattr(self, field.name) for field in fields(self)})

"""What one snippet may use."""

from dataclasses import asdict, dataclass

from deepmath.errors import InvalidRequest
from deepmath.executor.v1 import executor_pb2 as pb


@dataclass(frozen=True, slots=True)
class Limits:
    """The fields of the contract's Limits, none of them zero."""

    wall_ms: int
    cpu_ms: int
    memory_bytes: int
    output_bytes: int

    def to_message(self) -> pb.Limits:
        """The same as a message."""
        return pb.Limits(**asdict(self))


def resolve(asked: pb.Limits, default: Limits, maximum: Limits) -> Limits:
    """Return what `asked` means: zero stands for the default.

    Raises:
        InvalidRequest: a field is negative or over the maximum.
    """
    values = {}
    for name, highest in asdict(maximum).items():
        value = getattr(asked, name)
        if not 0 <= value <= highest:
            raise InvalidRequest(f"limits.{name} is {value}: give 1 to {highest}, or 0 for the default")
        values[name] = value or getattr(default, name)
    return Limits(**values)

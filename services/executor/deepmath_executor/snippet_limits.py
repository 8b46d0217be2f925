"""Limits of a snippet between the contract's messages and the sandbox library."""

from dataclasses import asdict

from deepmath.errors import InvalidRequest
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.limits import Limits


def resolve_limits(requested: pb.Limits, default: Limits, maximum: Limits) -> Limits:
    """Return the limits for a request. Zero stands for the default.

    Raises:
        InvalidRequest: A field is negative or over the maximum.
    """
    values = {}
    for name, highest in asdict(maximum).items():
        value = getattr(requested, name)
        if not 0 <= value <= highest:
            raise InvalidRequest(f"limits.{name} is {value}: give 1 to {highest}, or 0 for the default")
        values[name] = value or getattr(default, name)
    return Limits(**values)


def to_message(limits: Limits) -> pb.Limits:
    """Return the limits as a message of the contract."""
    return pb.Limits(**asdict(limits))

"""Transfer of variables into a sandbox: JSON values and numpy arrays, large arrays in pieces."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy
from smolagents.local_python_executor import InterpreterError

from deepmath.clients import HostFunction
from deepmath.rpc import wire_values

MAX_BYTES = 32 << 20
"""Of all variables together. The session records them, to restore them on another executor."""
MAX_CALLS = 1000
"""Host calls of one transfer, one per variable or piece: the default limit of an executor."""
_PIECE_BYTES = 512 << 10  # of an array; base64 adds a third

# Names that the local interpreter has without an import.
_MATH = "acos asin atan atan2 ceil cos degrees exp floor log radians sin sqrt tan"
PRELUDE = f"from math import {', '.join(_MATH.split())}\n"
RECEIVE = """
def _deepmath_receive():
    import numpy
    for name, pieces, shape in _deepmath_variables():
        value = [_deepmath_piece(name, place) for place in range(pieces)]
        globals()[name] = value[0] if shape is None else numpy.concatenate(value).reshape(shape)
_deepmath_receive()
del _deepmath_receive
"""


@dataclass(frozen=True)
class Variable:
    """One variable, as pieces that fit into a host call's result. Pieces of an array are flat; `shape` is its own."""

    pieces: list[Any]
    shape: tuple[int, ...] | None
    size: int
    """In bytes."""

    @classmethod
    def of(cls, name: str, value: Any) -> "Variable":
        """Return a copy of `value`: later changes do not reach the sandbox.

        Raises:
            InterpreterError: The name is invalid, or the value is neither JSON nor a numpy array of plain numbers.
        """
        if not (isinstance(name, str) and name.isidentifier() and not name.startswith("__")):
            raise InterpreterError(f"{name!r} is not a valid variable name: use an identifier without leading `__`")
        try:
            if isinstance(value, numpy.ndarray) and value.nbytes > _PIECE_BYTES:
                flat = value.reshape(-1).copy()
                each = max(1, _PIECE_BYTES // value.itemsize)
                wire_values.dumps(flat[:1], wire_values.RESULT_BYTES)
                pieces = [flat[at : at + each] for at in range(0, flat.size, each)]
                return cls(pieces, value.shape, value.nbytes)
            text = wire_values.dumps(value, wire_values.RESULT_BYTES)
            return cls([wire_values.loads(text, wire_values.RESULT_BYTES)], None, len(text))
        except (TypeError, ValueError) as error:
            raise InterpreterError(
                f"variable {name!r} cannot be sent into the sandbox: {error}; send JSON values and numpy arrays of "
                "numbers, or a tool that returns what the snippet needs"
            ) from None


def transfer_functions(variables: Mapping[str, Variable]) -> dict[str, HostFunction]:
    """Return the host functions by which RECEIVE fetches `variables`."""

    async def list_variables(_: dict[str, Any]) -> list[Any]:
        return [(name, len(variable.pieces), variable.shape) for name, variable in variables.items()]

    async def piece(arguments: dict[str, Any]) -> Any:
        return variables[arguments["name"]].pieces[arguments["place"]]

    return {
        "_deepmath_variables": HostFunction(list_variables),
        "_deepmath_piece": HostFunction(piece, ("name", "place")),
    }


def count_calls(variables: Mapping[str, Variable]) -> int:
    """Return the number of host calls that RECEIVE makes."""
    return 1 + sum(len(variable.pieces) for variable in variables.values())

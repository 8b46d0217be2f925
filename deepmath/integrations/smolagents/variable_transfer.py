"""Variables on their way into a sandbox: JSON and numpy arrays, large ones in pieces, rebuilt by a snippet of ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy
from smolagents.local_python_executor import InterpreterError

from deepmath.clients import HostFunction
from deepmath.rpc import wire_values

MOST_BYTES = 32 << 20
"""Of all variables together; the session keeps them, for when it has to move to another executor."""
MOST_CALLS = 1000
"""That bring them: one for each, or each piece of a large one. What an executor allows unless configured otherwise."""
_PIECE_BYTES = 512 << 10  # of an array; a third more in base64

# What the local interpreter has without an import.
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
    """One variable as pieces that a host call can hold; those of an array are flat and have its `shape`."""

    pieces: list[Any]
    shape: tuple[int, ...] | None
    size: int

    @classmethod
    def of(cls, name: str, value: Any) -> "Variable":
        """Return `value` as it is now: what happens to it later does not reach the sandbox.

        Raises:
            InterpreterError: its name is none, or it is neither JSON nor a numpy array of plain numbers.
        """
        if not (isinstance(name, str) and name.isidentifier() and not name.startswith("__")):
            raise InterpreterError(f"{name!r} cannot be the name of a variable: give an identifier without `__`")
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
                "numbers, or a tool that gives the snippet what it needs of it"
            ) from None


def host_functions(variables: Mapping[str, Variable]) -> dict[str, HostFunction]:
    """Return the functions by which RECEIVE asks for `variables`."""

    async def listing(_: dict[str, Any]) -> list[Any]:
        return [(name, len(variable.pieces), variable.shape) for name, variable in variables.items()]

    async def piece(arguments: dict[str, Any]) -> Any:
        return variables[arguments["name"]].pieces[arguments["place"]]

    return {
        "_deepmath_variables": HostFunction(listing),
        "_deepmath_piece": HostFunction(piece, ("name", "place")),
    }


def calls(variables: Mapping[str, Variable]) -> int:
    """Return how many calls RECEIVE makes."""
    return 1 + sum(len(variable.pieces) for variable in variables.values())

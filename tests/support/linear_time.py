"""Check that a routine takes time linear in the length of its text."""

import gc
import time
from collections.abc import Callable

_CHARACTERS = 20_000
_FACTOR = 8
_TOLERANCE = 2.5
_LEAST_S = 0.002  # shorter times vary too much


def assert_linear(routine: Callable[[str], object], unit: str) -> None:
    """Compare the processor times of `routine` for `unit`, repeated, and for 8 times as much: not 64 times the time."""

    def seconds(characters: int) -> float:
        text = unit * (characters // len(unit))
        gc.disable()  # its time depends on all objects of the process
        try:
            start = time.thread_time()
            routine(text)
            return time.thread_time() - start
        finally:
            gc.enable()

    short = max(min(seconds(_CHARACTERS) for _ in range(3)), _LEAST_S)
    long = min(seconds(_FACTOR * _CHARACTERS) for _ in range(2))
    assert long < _FACTOR * _TOLERANCE * short, (
        f"{short:.4f} s, then {long:.4f} s for {_FACTOR} times the text {unit!r}"
    )

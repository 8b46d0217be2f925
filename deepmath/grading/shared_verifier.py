"""The verifier of a process that grades for a library of others, which does not close it."""

from functools import cache

from deepmath.grading.verifier import Verifier

_WORKERS, _VERIFY_S = 2, 5.0


@cache
def shared_verifier() -> Verifier:
    """Return the verifier of this process; its sandboxes end with the process."""
    return Verifier(_WORKERS, _VERIFY_S)

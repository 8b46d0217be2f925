"""The error for a policy or a checkpoint that could not be written."""

from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from deepmath.errors import Unavailable

_LONGEST_REASON = 200


@contextmanager
def explain_write_failure(what: str) -> Iterator[None]:
    """Convert the errors of a full disk, for which torch, safetensors and the system each have their own.

    Raises:
        Unavailable: `what` could not be written, with the reason.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise Unavailable(
            f"{what} could not be written: {reason}. The last checkpoint is complete: make room and resume the run"
        ) from error

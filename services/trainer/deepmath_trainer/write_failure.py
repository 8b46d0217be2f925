"""The errors for a policy, a checkpoint or another file of a run that could not be written."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from deepmath.errors import Unavailable

_LONGEST_REASON = 200
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


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


@contextmanager
def explain_full_disk() -> Iterator[None]:
    """Convert the errors of a full disk from the small files of a run: logs, state, trajectories.

    Raises:
        Unavailable: a file could not be written, with the reason.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise Unavailable(
            f"a file of the run could not be written: {error}. The last checkpoint is complete: make room and resume "
            "the run"
        ) from error

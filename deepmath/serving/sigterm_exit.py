"""The handling of SIGTERM from the first moment of a process on. Imports nothing that takes time."""

import signal
import sys
from types import FrameType

from deepmath.exit_codes import EXIT_TERMINATED


def exit_on_sigterm() -> None:
    """Make SIGTERM exit this process, with cleanup, until something else handles it.

    Call it in an entry point before the other imports: the kernel drops signals without a handler that are sent to
    process 1 of a container, so SIGTERM would be lost while modules are imported or a model is loaded.
    """
    signal.signal(signal.SIGTERM, _exit)


def _exit(_number: int, _frame: FrameType | None) -> None:
    # An object that is being made just now, such as an event loop, is left incomplete, and its finalizer fails.
    sys.unraisablehook = lambda _: None
    sys.exit(EXIT_TERMINATED)

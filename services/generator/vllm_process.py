"""What the processes of vLLM do as they begin, where the generator started them.

A plugin of vLLM (`vllm.general_plugins` in pyproject.toml), which each of its processes calls. In any other vLLM of the
same environment it does nothing.
"""

import ctypes
import os
import signal
import sys
from functools import partialmethod

_GENERATOR = "DEEPMATH_GENERATOR_PID"  # inherited by the processes that vLLM starts
_PR_SET_PDEATHSIG = 1


def claim() -> None:
    """Tell the processes that are started from now on that this one is their generator."""
    os.environ[_GENERATOR] = str(os.getpid())


def begin() -> None:
    """Called by vLLM."""
    if os.environ.get(_GENERATOR) not in {None, str(os.getpid())}:
        _end_with_the_generator()
        _wait_without_spinning()


def _end_with_the_generator() -> None:
    # However it ends: else, killed, it would leave the model in memory.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_without_spinning() -> None:
    # On a CPU vLLM 0.32 too runs a process for the engine and one for its worker, and each asks without pause whether
    # the other has written: a core, which the model, the sandboxes or a trainer would use. A message's socket wakes it.
    from vllm.distributed.device_communicators.shm_broadcast import SpinCondition
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        SpinCondition.__init__ = partialmethod(SpinCondition.__init__, busy_loop_s=0.0)

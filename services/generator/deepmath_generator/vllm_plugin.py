"""What the processes of vLLM do as they begin, where the generator started them.

A plugin of vLLM (`vllm.general_plugins` in pyproject.toml), which each of its processes calls. In any other vLLM of the
same environment it does nothing.
"""

import ctypes
import os
import signal
import sys

from deepmath.observability.logs import set_up_logging

_GENERATOR = "DEEPMATH_GENERATOR_PID"  # inherited by the processes that vLLM starts
_PR_SET_PDEATHSIG = 1
JSON_LOG = "DEEPMATH_GENERATOR_JSON_LOG"
"""Variable with the level from which on vLLM's processes log as JSON; as text where it is not set."""


def claim() -> None:
    """Tell the processes that are started from now on that this one is their generator."""
    os.environ[_GENERATOR] = str(os.getpid())


def begin() -> None:
    """Called by vLLM."""
    if os.environ.get(_GENERATOR) not in {None, str(os.getpid())}:
        _end_with_the_generator()
        _wait_asleep()
        if level := os.environ.get(JSON_LOG):
            set_up_logging(level, "json", "generator")


def _end_with_the_generator() -> None:
    # However it ends: else, killed, it would leave the model in memory.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_asleep() -> None:
    from vllm.distributed.device_communicators import shm_broadcast
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        from deepmath_generator.vllm_patches.cpu.sleeping_condition import SleepingCondition

        shm_broadcast.SpinCondition = SleepingCondition

"""vLLM's processes end with the generator, however it ends: else, killed, it would leave the model in memory.

A plugin of vLLM (`vllm.general_plugins` in pyproject.toml), which every process of vLLM calls as it begins.
"""

import ctypes
import os
import signal
import sys

_GENERATOR = "DEEPMATH_GENERATOR_PID"  # inherited by the processes that vLLM starts, and set for no other vLLM
_PR_SET_PDEATHSIG = 1


def hold() -> None:
    """Have the processes that this one starts from now on end with it."""
    os.environ[_GENERATOR] = str(os.getpid())


def follow() -> None:
    """End with the process that started this one, where that is the generator or follows it."""
    generator = os.environ.get(_GENERATOR)
    if generator not in {None, str(os.getpid())} and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

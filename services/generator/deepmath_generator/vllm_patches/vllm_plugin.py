"""vLLM plugin (entry point `vllm.general_plugins`): prepares vLLM's processes that belong to a generator.

Reason: vLLM starts processes of its own, and a plugin is the only code of another package that it runs in each. In the
generator's own process, and in a vLLM that no generator has started, the plugin does nothing.

Source: vllm/plugins/__init__.py, `load_general_plugins`, called by `EngineCore.__init__` (vllm/v1/engine/core.py) and
`WorkerWrapperBase.init_worker` (vllm/v1/worker/worker_base.py). It may be called several times in one process.

Only the standard library is imported outside functions: vLLM would ignore the plugin if its import failed.
"""

import ctypes
import logging
import os
import signal
import sys

_GENERATOR_PID = "DEEPMATH_GENERATOR_PID"  # inherited by the processes that vLLM starts
PROCESS_LOG = "DEEPMATH_GENERATOR_PROCESS_LOG"
"""Environment variable with the log level and the format of vLLM's processes, separated by a space."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def mark_generator() -> None:
    """Mark this process as the generator of the vLLM processes that are started from now on."""
    os.environ[_GENERATOR_PID] = str(os.getpid())


def belongs_to_generator() -> bool:
    """Return whether a generator has started this process through vLLM; Ray's workers do not inherit the mark."""
    return os.environ.get(_GENERATOR_PID) not in {None, str(os.getpid())}


def prepare_process() -> None:
    """Entry point: prepare this process and report the outcome to the generator.

    Raises:
        VllmPatchError: A patch does not apply.
    """
    if not belongs_to_generator():
        return
    from deepmath_generator.vllm_patches.startup_report import report_outcome
    from deepmath_generator.vllm_patches.vllm_patch_error import VllmPatchError, applying

    try:
        with applying("vllm_plugin"):
            _die_with_generator()
            _apply_patches()
            _set_up_logging()
    except VllmPatchError as error:
        report_outcome(error)
        raise
    report_outcome()
    _report_exceptions()


def _report_exceptions() -> None:
    """Report the exceptions that vLLM logs; only once, since vLLM may load plugins several times in a process."""
    from deepmath_generator.vllm_patches.startup_report import LoggedExceptions

    logger = logging.getLogger("vllm")
    if not any(isinstance(handler, LoggedExceptions) for handler in logger.handlers):
        logger.addHandler(LoggedExceptions(logging.ERROR))


def _die_with_generator() -> None:
    """Have the kernel kill this process when the generator dies; a killed generator would leave the model in memory."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _apply_patches() -> None:
    from vllm.platforms import current_platform

    from deepmath_generator.vllm_patches.vllm_patch_error import applying

    if current_platform.is_cpu():
        with applying("cpu.sleeping_condition"):
            from deepmath_generator.vllm_patches.cpu.sleeping_condition import replace_spin_condition

            replace_spin_condition()


def set_vllm_log_level() -> None:
    """Set the level of vLLM's lines, which vLLM leaves alone if it does not configure its logging."""
    logging.getLogger("vllm").setLevel(os.environ.get("VLLM_LOGGING_LEVEL", "INFO").upper())


def _set_up_logging() -> None:
    if PROCESS_LOG in os.environ:
        from deepmath.observability.logs import set_up_logging

        level, style = os.environ[PROCESS_LOG].split()
        set_up_logging(level, "json" if style == "json" else "text", "generator")
        if os.environ.get("VLLM_CONFIGURE_LOGGING") == "0":
            set_vllm_log_level()

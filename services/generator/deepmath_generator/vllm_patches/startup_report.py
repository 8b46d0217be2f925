"""Report of the outcome in each of vLLM's processes, read by the generator when vLLM has started.

Reason: the generator gets the exception "Engine core initialization failed. See root cause above", whatever the cause;
the process that failed only logs it. The plugin may fail unseen, too: vLLM logs and ignores one that cannot be
imported, and skips those that VLLM_PLUGINS does not list or that the parent of a forked process has loaded. The
generator must not serve without its patches, and should name the one that failed.

Source: vllm/plugins/__init__.py, `load_plugins_by_group`; issue vllm-project/vllm#48277 for platform plugins. The
engine's process is named "EngineCore" (vllm/v1/engine/utils.py, `CoreEngineProcManager`). Exceptions at the start are
logged by `EngineCoreProc.run_engine_core` (vllm/v1/engine/core.py) and `WorkerProc.worker_main`
(vllm/v1/executor/multiproc_executor.py).
"""

import json
import logging
import multiprocessing
import os
import tempfile
from pathlib import Path
from typing import Any, Self

from deepmath_generator.vllm_patches.vllm_patch_error import VllmPatchError

_VARIABLE = "DEEPMATH_GENERATOR_STARTUP_REPORT"  # path of the report, inherited by vLLM's processes
_ENGINE_PROCESS = "EngineCore"
_MAX_CHARACTERS = 2000


class StartupReport:
    """A temporary file to which vLLM's processes append a line each. Valid within the block."""

    def __enter__(self) -> Self:
        descriptor, path = tempfile.mkstemp(prefix="deepmath-vllm-", suffix=".jsonl")
        os.close(descriptor)
        self._path = Path(path)
        os.environ[_VARIABLE] = path
        return self

    def __exit__(self, *_: object) -> None:
        del os.environ[_VARIABLE]
        self._path.unlink()

    def raise_failure(self) -> None:
        """Raise the first failure that was reported, if any.

        Raises:
            VllmPatchError: The plugin failed in one of vLLM's processes.
        """
        for line in self._lines():
            if line["patch"]:
                raise VllmPatchError(line["patch"], f"{line['reason']} (in vLLM's process {line['process']})")

    def cause(self) -> str | None:
        """Return the first exception that one of vLLM's processes logged, if any."""
        return next((line["logged"] for line in self._lines() if line["logged"]), None)

    def check_success(self) -> None:
        """Check that the plugin ran in vLLM's processes and did not fail.

        Raises:
            VllmPatchError: The plugin failed, or the engine's process did not run it.
        """
        self.raise_failure()
        if not any(line["process"].startswith(_ENGINE_PROCESS) for line in self._lines()):
            raise VllmPatchError(
                "vllm_plugin",
                "vLLM did not load the plugin `deepmath` of the entry-point group `vllm.general_plugins`; reinstall "
                "deepmath-generator, add `deepmath` to VLLM_PLUGINS if that is set, and leave "
                "VLLM_WORKER_MULTIPROC_METHOD at spawn",
            )

    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._path.read_text().splitlines()]


def report_outcome(failure: VllmPatchError | None = None) -> None:
    """Append the outcome of the plugin in this process to the report, if the generator waits for one."""
    _report(failure.patch, failure.reason) if failure else _report()


class LoggedExceptions(logging.Handler):
    """Appends the exceptions that vLLM logs in this process to the report, while the generator waits for one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Report the exception of a log line."""
        if record.exc_info and (error := record.exc_info[1]):
            _report(logged=str(error) or type(error).__name__)


def _report(patch: str = "", reason: str = "", logged: str = "") -> None:
    if path := os.environ.get(_VARIABLE):
        process = multiprocessing.current_process().name
        line = {"process": process, "patch": patch, "reason": reason, "logged": logged[:_MAX_CHARACTERS]}
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:  # the generator has read it
            return
        with open(descriptor, "w") as report:
            report.write(json.dumps(line) + "\n")

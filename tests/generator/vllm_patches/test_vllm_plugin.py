"""The plugin in vLLM's processes: logging, patches, and failures that the generator reports."""

import json
import logging
import os
import subprocess
import sys

import pytest
from deepmath_generator.vllm_patches.startup_report import LoggedExceptions, StartupReport, report_outcome
from deepmath_generator.vllm_patches.vllm_patch_error import VllmPatchError
from deepmath_generator.vllm_patches.vllm_plugin import PROCESS_LOG
from support.secured import serving

from deepmath.local_stack.stack import EMBEDDED_MODEL, EMBEDDED_OPTIONS

LOG = """
import logging
from deepmath_generator.vllm_patches.vllm_plugin import prepare_process
prepare_process()
logging.getLogger("vllm.x").info("hello")
"""

# Changes the signature of the patch's target in the processes named by the environment. Python imports
# `sitecustomize` at its start, and the module in question when vLLM does.
BREAK_TARGET = """
import importlib.abc, importlib.machinery, multiprocessing, os, sys

TARGET = "vllm.distributed.device_communicators.shm_broadcast"

class Loader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module):
        super().exec_module(module)
        if multiprocessing.current_process().name.startswith(os.environ["BREAK_IN"]):
            module.SpinCondition.wait = lambda self, seconds: None

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != TARGET:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        spec.loader = Loader(name, spec.origin)
        return spec

sys.meta_path.insert(0, Finder())
"""


def logged(**variables: str) -> str:
    """Return the last log line of a process that a generator might have started."""
    environment = os.environ | {"DEEPMATH_GENERATOR_PID": "1"} | variables
    ended = subprocess.run(
        [sys.executable, "-P", "-c", LOG], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    return ended.stderr.splitlines()[-1] if ended.stderr else ""


@pytest.mark.vllm
def test_process_of_a_json_logging_generator_logs_json() -> None:
    line = json.loads(logged(**{PROCESS_LOG: "info json", "VLLM_LOGGING_LEVEL": "INFO", "VLLM_CONFIGURE_LOGGING": "0"}))
    assert (line["service"], line["logger"], line["message"]) == ("generator", "vllm.x", "hello")


@pytest.mark.vllm
def test_process_of_a_text_logging_generator_logs_text_through_our_writer() -> None:
    variables = {PROCESS_LOG: "info text", "VLLM_LOGGING_LEVEL": "INFO", "VLLM_CONFIGURE_LOGGING": "0"}
    assert logged(**variables).endswith(" INFO vllm.x: hello")


@pytest.mark.vllm
def test_users_level_of_vllms_lines_is_kept() -> None:
    variables = {PROCESS_LOG: "info text", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_CONFIGURE_LOGGING": "0"}
    assert "hello" not in logged(**variables)


def test_report_without_the_engines_process_names_the_plugin_and_the_remedies() -> None:
    with StartupReport() as report:
        report_outcome()  # of a process with another name
        with pytest.raises(VllmPatchError, match=r"`vllm_plugin` .*`vllm.general_plugins`; reinstall .*VLLM_PLUGINS"):
            report.check_success()


def test_reported_failure_is_raised_with_its_patch_and_process() -> None:
    with StartupReport() as report:
        report_outcome(VllmPatchError("cpu.sleeping_condition", "it has changed"))
        with pytest.raises(VllmPatchError, match=r"`cpu.sleeping_condition` .*it has changed \(in vLLM's process Main"):
            report.check_success()


def test_first_exception_that_vllm_logs_is_the_cause() -> None:
    logger = logging.Logger("vllm.v1.worker")
    logger.addHandler(LoggedExceptions(logging.ERROR))
    with StartupReport() as report:
        report_outcome()
        logger.error("without an exception")
        assert report.cause() is None
        for text in ("no room", "Engine core initialization failed", "x" * 10_000):
            try:
                raise RuntimeError(text)
            except RuntimeError:
                logger.exception("WorkerProc failed to start.")
        assert report.cause() == "no room"
        report.raise_failure()  # the plugin has not failed
    logger.exception("later", exc_info=RuntimeError("ignored"))


@pytest.mark.vllm
@pytest.mark.parametrize(
    ("cause", "message"),
    [
        ("No room.\nSee the log.", "No room."),
        (None, "Engine core initialization failed."),
        (" ", "Engine core initialization failed."),
        (
            "To serve at least one request with the model's max seq len (40960), (5.62 GiB KV cache is needed, which "
            "is larger than the available KV cache memory (1.0 GiB). Based on the available memory, the estimated "
            "maximum model length is 7264. Try increasing `gpu_memory_utilization`",
            "the KV cache has room for a context of 7264 tokens; set --context-length to at most that, or raise "
            "--gpu-memory (on a CPU --cpu-cache-gib)",
        ),
    ],
)
def test_failure_to_start_is_reported_with_its_cause(cause: str | None, message: str) -> None:
    from deepmath_generator.vllm_engine import start_failure

    assert start_failure(cause, RuntimeError("Engine core initialization failed.\nSee root cause above.")) == message


def test_process_that_starts_after_the_report_was_read_reports_nothing() -> None:
    with StartupReport() as report:
        environment = dict(os.environ)
    os.environ.update(environment)
    try:
        report_outcome()
        assert not report._path.exists()
    finally:
        del os.environ["DEEPMATH_GENERATOR_STARTUP_REPORT"]


@pytest.mark.slow
@pytest.mark.vllm
async def test_generator_does_not_start_when_a_patch_fails_in_a_worker(tmp_path, monkeypatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(BREAK_TARGET)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("BREAK_IN", "VllmWorker")
    options = ("--model", EMBEDDED_MODEL, *EMBEDDED_OPTIONS)
    with pytest.raises(AssertionError):  # it exits without an address
        async with serving("generator", tmp_path, *options):
            pass
    last = (tmp_path / "generator.log").read_text().splitlines()[-1]
    assert last.startswith("deepmath serve generator: vLLM patch `cpu.sleeping_condition` does not apply to vLLM 0.32")
    assert "('seconds',), not ('timeout_ms',)" in last
    assert "(in vLLM's process VllmWorker-0)" in last

"""Environment variables that vLLM and torch read when they are imported."""

import os
import sys
from importlib.metadata import Distribution, version

from deepmath.errors import InvalidRequest
from deepmath_generator.config import GeneratorConfig
from deepmath_generator.vllm_patches.vllm_plugin import PROCESS_LOG, set_vllm_log_level


def set_vllm_environment(config: GeneratorConfig) -> None:
    """Set the variables from `config`; those that the user has set are kept. Call it before importing vLLM."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", config.log_level.upper())
    os.environ[PROCESS_LOG] = f"{config.log_level} {config.log_format}"
    if "VLLM_LOGGING_CONFIG_PATH" not in os.environ:
        # vLLM's lines go through our logging, in which no line waits for a reader; vLLM's own handler writes directly.
        os.environ.setdefault("VLLM_CONFIGURE_LOGGING", "0")
        set_vllm_log_level()
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(config.cpu_cache_gib))
    if config.cpu_threads:
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", _first_cores(config.cpu_threads))
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    # As in vLLM's own command line (vllm/entrypoints/serve/utils/api_utils.py, `cli_env_setup`). Forked processes would
    # inherit that plugins are loaded, and skip ours; forking a process with gRPC threads is unsafe, too.
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    if is_eager(config):
        # vLLM's sampler compiles a kernel at its first use even with `enforce_eager`
        # (vllm/v1/sample/ops/logprobs.py, `batched_count_greater_than`): 20 s, and it needs a C++ compiler.
        os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")


def is_eager(config: GeneratorConfig) -> bool:
    """Return whether graphs are not compiled: as configured, and by default on a CPU."""
    return _is_cpu_build() if config.eager is None else config.eager


def _is_cpu_build() -> bool:
    """Return whether the installed vLLM computes on a CPU: as in vllm/platforms/__init__.py, `cpu_platform_plugin`."""
    if os.environ.get("VLLM_TARGET_DEVICE") == "cpu" or sys.platform == "darwin":
        return True
    installed = [name for name in ("vllm", "vllm-cpu") if any(Distribution.discover(name=name))]
    return any("cpu" in name or "cpu" in version(name) for name in installed)


def _first_cores(count: int) -> str:
    """Return the first cores that this process may use, as vLLM lists them.

    Raises:
        InvalidRequest: There are fewer.
    """
    cores = sorted(os.sched_getaffinity(0))
    if count > len(cores):
        raise InvalidRequest(f"cpu_threads is {count}, but this process may use {len(cores)} cores; set at most that")
    return ",".join(map(str, cores[:count]))

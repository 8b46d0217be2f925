"""What vLLM reads from the environment, when it is imported and after."""

import os

from deepmath_generator.config import GeneratorConfig
from deepmath_generator.vllm_plugin import JSON_LOG


def tell_vllm(config: GeneratorConfig) -> None:
    """Set it as `config` says, where the user has not. Call it before vLLM is imported."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", config.log_level.upper())
    if config.log_format == "json":
        os.environ[JSON_LOG] = config.log_level
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(config.cpu_cache_gib))
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    if config.eager:
        # Else its sampler compiles a kernel at its first use all the same: 20 s, and a compiler, for nothing.
        os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")

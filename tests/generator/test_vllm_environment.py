"""Environment variables of vLLM and torch: set from the configuration unless the user has set them."""

import os

import pytest
from deepmath_generator.config import GeneratorConfig
from deepmath_generator.vllm_environment import set_vllm_environment
from deepmath_generator.vllm_patches.vllm_plugin import JSON_LOG

NAMES = (
    *("VLLM_LOGGING_LEVEL", "VLLM_CPU_KVCACHE_SPACE", "VLLM_NO_USAGE_STATS", "VLLM_WORKER_MULTIPROC_METHOD"),
    *("TORCH_COMPILE_DISABLE", JSON_LOG),
)


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that it is restored after the test
        monkeypatch.delenv(name)


def test_variables_follow_the_configuration(unset) -> None:
    set_vllm_environment(GeneratorConfig(model="x", eager=True, cpu_cache_gib=2, log_format="json", log_level="info"))
    assert [os.environ[name] for name in NAMES] == ["INFO", "2", "1", "spawn", "1", "info"]


def test_variables_of_the_user_are_kept(unset, monkeypatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "7")
    set_vllm_environment(GeneratorConfig(model="x"))
    assert os.environ["VLLM_CPU_KVCACHE_SPACE"] == "7"
    assert "TORCH_COMPILE_DISABLE" not in os.environ

"""Environment variables of vLLM and torch: set from the configuration unless the user has set them."""

import os
from importlib.metadata import Distribution

import pytest
from deepmath_generator import vllm_environment
from deepmath_generator.config import GeneratorConfig
from deepmath_generator.vllm_environment import is_eager, set_vllm_environment
from deepmath_generator.vllm_patches.vllm_plugin import PROCESS_LOG

from deepmath.errors import InvalidRequest

NAMES = (
    *("VLLM_LOGGING_LEVEL", "VLLM_CPU_KVCACHE_SPACE", "VLLM_NO_USAGE_STATS", "VLLM_WORKER_MULTIPROC_METHOD"),
    *("TORCH_COMPILE_DISABLE", PROCESS_LOG, "VLLM_CONFIGURE_LOGGING", "VLLM_LOGGING_CONFIG_PATH"),
)


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that it is restored after the test
        monkeypatch.delenv(name)


def test_variables_follow_the_configuration(unset) -> None:
    set_vllm_environment(GeneratorConfig(model="x", eager=True, cpu_cache_gib=2, log_format="json", log_level="info"))
    assert [os.environ.get(name) for name in NAMES] == ["INFO", "2", "1", "spawn", "1", "info json", "0", None]


def test_variables_of_the_user_are_kept(unset, monkeypatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "7")
    set_vllm_environment(GeneratorConfig(model="x"))
    assert os.environ["VLLM_CPU_KVCACHE_SPACE"] == "7"


def test_logging_that_the_user_configures_for_vllm_is_kept(unset, monkeypatch) -> None:
    """vLLM refuses a configuration file together with VLLM_CONFIGURE_LOGGING=0."""
    monkeypatch.setenv("VLLM_LOGGING_CONFIG_PATH", "logging.json")
    set_vllm_environment(GeneratorConfig(model="x"))
    assert "VLLM_CONFIGURE_LOGGING" not in os.environ


def test_threads_are_bound_to_the_first_cores_of_this_process(monkeypatch) -> None:
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {6, 3, 5})
    monkeypatch.setattr(os, "environ", dict(os.environ))
    set_vllm_environment(GeneratorConfig(model="x", cpu_threads=2))
    assert os.environ["VLLM_CPU_OMP_THREADS_BIND"] == "3,5"
    with pytest.raises(InvalidRequest, match="cpu_threads is 4, but this process may use 3 cores"):
        set_vllm_environment(GeneratorConfig(model="x", cpu_threads=4))


@pytest.mark.vllm
def test_graphs_are_compiled_by_default_where_vllm_has_no_cpu_build(monkeypatch) -> None:
    from vllm.platforms import current_platform

    for configured, expected in ((None, current_platform.is_cpu()), (True, True), (False, False)):
        monkeypatch.setattr(os, "environ", {})
        config = GeneratorConfig(model="x", eager=configured)
        set_vllm_environment(config)
        assert is_eager(config) is expected
        assert ("TORCH_COMPILE_DISABLE" in os.environ) is expected


@pytest.mark.parametrize(
    ("installed", "expected"),
    [({"vllm": "0.32.0"}, False), ({"vllm": "0.32.0+cpu"}, True), ({"vllm-cpu": "0.32.0"}, True)],
)
def test_build_for_a_cpu_is_known_by_its_name_or_version(monkeypatch, installed, expected) -> None:
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(Distribution, "discover", lambda name: iter([name] if name in installed else []))
    monkeypatch.setattr(vllm_environment, "version", installed.__getitem__)
    assert is_eager(GeneratorConfig(model="x")) is expected

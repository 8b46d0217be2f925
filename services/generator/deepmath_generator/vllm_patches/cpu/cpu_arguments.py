"""Engine arguments for the CPU backend, each of which avoids a defect of vLLM 0.32."""

from typing import Any

from deepmath_generator.vllm_patches.vllm_patch_error import applying, require_attributes

_WORKER_EXTENSION = "deepmath_generator.vllm_patches.cpu.worker_extension.CpuWorkerExtension"


def patch_arguments(arguments: Any) -> None:
    """Change vLLM's `AsyncEngineArgs` for the CPU backend.

    Raises:
        VllmPatchError: vLLM has no such argument.
    """
    with applying("cpu.cpu_arguments"):
        require_attributes(
            arguments, "worker_extension_cls", "max_loras", "max_cpu_loras", "enable_chunked_prefill", "block_size"
        )
        arguments.worker_extension_cls = _WORKER_EXTENSION
        add_spare_lora_slot(arguments)
        disable_chunked_prefill(arguments)
        use_small_blocks(arguments)


def add_spare_lora_slot(arguments: Any) -> None:
    """Add a LoRA slot that stays empty.

    Reason: tokens without an adapter have the slot index -1 (vllm/lora/punica_wrapper/utils.py, `convert_mapping`), and
    the CPU products index their matrices with it (vllm/lora/ops/torch_ops/lora_ops.py, `bgmv_expand`), which in torch
    is the last slot: these tokens would use the adapter there.
    """
    arguments.max_loras += 1
    arguments.max_cpu_loras = arguments.max_loras


def disable_chunked_prefill(arguments: Any) -> None:
    """Disable chunked prefill.

    Reason: after all chunks of a prompt but the last, vLLM rewinds the random generator of a request with a seed
    (vllm/v1/worker/gpu_model_runner.py, `gen.set_offset(gen.get_offset() - 4)`; vllm-project/vllm#10097). CPU
    generators have no offset, and the exception takes the engine down.
    """
    arguments.enable_chunked_prefill = False


def use_small_blocks(arguments: Any) -> None:
    """Use KV cache blocks of 32 tokens, the smallest of the CPU kernels, instead of 128.

    Reason: after a tool call the prefix cache has all full blocks of the context. With blocks of 128
    (vllm/platforms/cpu.py, `check_and_update_config`) most of a short trajectory would be computed again.
    """
    arguments.block_size = 32

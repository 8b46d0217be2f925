"""Methods of vLLM's workers, called by name on all workers (`AsyncLLM.collective_rpc`).

Reason: `AsyncLLM` has no method to load other weights of the same model from disk, and none to patch its workers.

Source: vllm/v1/worker/gpu_worker.py, `Worker.reload_weights`, which passes its arguments to
`GPUModelRunner.reload_weights` (vllm/v1/worker/gpu_model_runner.py); the CPU worker inherits both. The other methods
are those of `cpu.worker_extension`, which vLLM adds to the worker's class (`WorkerWrapperBase.init_worker`).
"""

from typing import Any

from deepmath_generator.vllm_patches.vllm_patch_error import VllmPatchError


async def reload_weights(llm: Any, weights: str) -> None:
    """Load `weights`, the directory or hub name of a checkpoint of the same model, in place."""
    await llm.collective_rpc("reload_weights", kwargs={"weights_path": weights})


async def patch_cpu_worker(llm: Any, lora: bool) -> None:
    """Apply the patches of the CPU workers, with `lora` those of LoRA too.

    Raises:
        VllmPatchError: A patch does not apply.
    """
    try:
        await llm.collective_rpc("apply_patches", kwargs={"lora": lora})
    except Exception as error:  # vLLM reports a worker's exception as text
        raise VllmPatchError("cpu.worker_extension", str(error)) from error


async def repack_output_layer(llm: Any) -> None:
    """Repack the output layer on CPU workers after `reload_weights`."""
    await llm.collective_rpc("repack_output_layer")

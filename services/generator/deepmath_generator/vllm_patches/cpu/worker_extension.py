"""Extension of vLLM's CPU workers, whose methods `worker_methods` calls by name.

Source: vllm/v1/worker/worker_base.py, `WorkerWrapperBase.init_worker`, adds the class of the argument
`worker_extension_cls` to the bases of the worker's class.
"""

from deepmath_generator.vllm_patches.cpu.grouped_lora import group_lora_products
from deepmath_generator.vllm_patches.cpu.output_layer import repack_output_layer
from deepmath_generator.vllm_patches.cpu.sleeping_condition import check_replaced
from deepmath_generator.vllm_patches.cpu.truncated_sampling import replace_truncation
from deepmath_generator.vllm_patches.vllm_plugin import belongs_to_generator


class CpuWorkerExtension:
    """Methods that apply patches in a worker."""

    def apply_patches(self, lora: bool) -> None:
        """Apply the patches of a worker, with `lora` those of LoRA too, and check those of the plugin.

        Raises:
            VllmPatchError: A patch does not apply.
        """
        if belongs_to_generator():
            check_replaced()
        replace_truncation()
        if lora:
            group_lora_products(self.model_runner)  # type: ignore[attr-defined]

    def repack_output_layer(self) -> None:
        """Repack the output layer after the weights have been reloaded."""
        repack_output_layer(self.model_runner.get_model())  # type: ignore[attr-defined]

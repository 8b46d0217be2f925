"""What the engine's workers get in addition on a CPU (vLLM's `worker_extension_cls`)."""

from deepmath_generator.vllm_patches.cpu.grouped_lora import GroupedLora


class CpuWorkerExtension(GroupedLora):
    """Mends vLLM 0.32."""

    def pack_output_layer(self) -> None:
        """Have the output layer compute with the weights that were loaded last.

        On a CPU layers compute with packed copies of their weights, and only those of embedding and output layer are
        kept beside. Where both have the same weights, reloading packs those of the embedding only.
        """
        for layer in self.model_runner.get_model().modules():  # type: ignore[attr-defined]
            if hasattr(layer, "cpu_linear") and layer.weight.numel():
                layer.quant_method.process_weights_after_loading(layer)
